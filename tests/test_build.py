from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchlight.build import build_method, data_channels
from patchlight.checkpoint import make_record, read_checkpoint
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError, DataError, EmptyPatchMapError, UserError
from patchlight.methods import CycleGAN, Pix2Pix
from patchlight.networks import Discriminator, PatchGrid
from patchlight.runs.geometry import patch_geometries
from patchlight.runs.records import make_manifest

TINY = ("model.generator.ngf=2", "model.discriminator.ndf=2")


def method(*overrides: str) -> Any:
    cfg = compose_config("train", [*TINY, *overrides])
    return build_method(cfg.model, data_channels(cfg.data))


def test_the_data_decides_the_networks_shape() -> None:
    built = method("data.channels_a=1", "model/generator=unet_128")
    assert isinstance(built, Pix2Pix)
    assert built.generator.encoder[0][0].in_channels == 1  # type: ignore[index,union-attr]
    assert built.discriminator.layers[0].in_channels == 4  # type: ignore[index,union-attr]
    built = method("data.channels_a=1", "data.direction=BtoA", "model=cyclegan")
    assert isinstance(built, CycleGAN)
    assert built.discriminator_a.layers[0].in_channels == 3  # type: ignore[index,union-attr]
    assert built.discriminator_b.layers[0].in_channels == 1  # type: ignore[index,union-attr]


def test_initial_weights_come_from_the_configuration() -> None:
    torch.manual_seed(0)
    wide = method("model.init.gain=0.2", "model.generator.ngf=16")
    assert wide.generator.encoder[3][1].weight.std().item() == pytest.approx(0.2, rel=0.02)


def test_optimizers_and_schedules_come_from_the_configuration() -> None:
    built = method("model/optimizer=adamw", "model.optimizer.lr=0.001", "model/schedule=constant")
    (generator, discriminator), _ = built.configure_optimizers()
    assert isinstance(generator, torch.optim.AdamW)
    assert discriminator.param_groups[0]["lr"] == 0.001
    built = method("model=cyclegan", "model/schedule=plateau", "model.schedule.monitor=val/psnr")
    assert built.configure_optimizers()[1][0].monitor == "val/psnr"


@pytest.mark.parametrize(
    ("size", "map_size", "padding"), [(256, (6, 6), 30), ([512, 640], (14, 18), 0), ([640, 200], (18, 4), 86)]
)
def test_patch_geometry(size: Any, map_size: tuple[int, int], padding: int) -> None:
    (geometry,) = patch_geometries(method("model/discriminator=patch286"), size)
    assert (geometry.name, geometry.receptive_field, geometry.map_size) == ("discriminator", 286, map_size)
    assert geometry.padding == padding


def test_empty_patch_maps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"empty patch map for data.image_size=64: .* 286 px .* at least 96 px"):
        patch_geometries(method("model/discriminator=patch286"), 64)


class Halving(Discriminator):
    """Four halvings, of which it does not say what images they need."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(6, 1, 4, stride=2), *(nn.Conv2d(1, 1, 4, stride=2) for _ in range(3)))
        self.only: int | None = None

    def forward(self, image: Tensor) -> Tensor:
        if self.only not in (None, image.shape[-1]):
            raise RuntimeError(f"it takes {self.only} pixels only")
        logits: Tensor = self.layers(image)
        return logits


def test_an_empty_map_of_a_discriminator_that_does_not_say_its_smallest_image() -> None:
    built = method()
    built.discriminator = Halving()
    (geometry,) = patch_geometries(built, 46)
    assert (geometry.receptive_field, geometry.map_size) == (46, (1, 1))
    message = (
        r"^model.discriminator leaves an empty patch map for data.image_size=45: its receptive field is 46 px and "
        r"Halving takes no image of 45 x 45 px \(.*\); take fewer layers or larger images$"
    )
    with pytest.raises(EmptyPatchMapError, match=message):
        patch_geometries(built, 45)
    with pytest.raises(EmptyPatchMapError, match="Halving takes no image of 64 x 3 px"):
        patch_geometries(built, [64, 3])
    built.discriminator.only = 64
    with pytest.raises(ConfigError, match="^model.discriminator: Halving takes no image of 128 x 128 px") as refused:
        patch_geometries(built, 128)
    assert not isinstance(refused.value, EmptyPatchMapError)


class Pooled(Discriminator):
    """Sees more than its only layer does, and says what it is told of its patches."""

    def __init__(self, wrong: PatchGrid | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 1, 3, padding=1)
        self.wrong = wrong

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = nn.functional.avg_pool2d(self.layer(image), 3, 1, 1)
        return logits

    def patch_grids(self, height: int, width: int) -> tuple[PatchGrid, ...]:
        return (self.wrong,) if self.wrong is not None else super().patch_grids(height, width)


def test_a_field_that_no_single_layer_tells() -> None:
    built = method()
    built.discriminator = Pooled()
    (geometry,) = patch_geometries(built, [64, 48])
    assert (geometry.receptive_field, geometry.map_size) == (5, (64, 48))


def test_patches_are_compared_with_a_forward_pass() -> None:
    built = method()
    built.discriminator = Pooled(PatchGrid(3, 1, 0.5, (62, 62)))
    message = "^model.discriminator: Pooled makes 1 x 64 x 64 values of 64 x 64 px, and not 1 x 62 x 62$"
    with pytest.raises(ConfigError, match=message):
        patch_geometries(built, 64)
    built.discriminator = Pooled()
    built.discriminator.layer = nn.Conv2d(6, 2, 3, padding=1)
    with pytest.raises(ConfigError, match="makes 2 x 64 x 64 values of 64 x 64 px, and not 1 x 64 x 64"):
        patch_geometries(built, 64)
    built.discriminator.layer = nn.Conv2d(6, 1, (3, 5), padding=1)
    with pytest.raises(ConfigError, match="^model.discriminator: the receptive field of Pooled cannot be told: it"):
        patch_geometries(built, 64)


class Foreign(nn.Module):
    def __init__(self, in_channels: int, ndf: int) -> None:
        super().__init__()


def test_own_networks_have_to_say_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchlight.networks.Foreign", Foreign, raising=False)
    with pytest.raises(ConfigError, match=r"makes a Foreign: derive it from patchlight.networks.Discriminator"):
        method(
            "model/discriminator=pixel",
            "model.discriminator._target_=patchlight.networks.Foreign",
            "~model.discriminator.norm",
            "~model.discriminator.spectral_norm",
        )


class Malicious:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning")
def test_a_part_of_a_part_is_named_by_its_whole_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(
        ConfigError, match="^model.generator_terms.lpips.network=alexnet needs AlexNet's .* get https://"
    ):
        method("model/generator_term=[ssim,lpips]")
    with pytest.raises(ConfigError, match="^model.discriminator_augment.policy must be a list of some of colour"):
        method("model/discriminator_augment=diffaugment", "model.discriminator_augment.policy=[]")
    with pytest.raises(ConfigError, match="^model.discriminator.n_layers must be an integer of at least 1, got 0"):
        method("model.discriminator.n_layers=0")


def test_only_our_checkpoints_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.ckpt"
    with pytest.raises(DataError, match="x.ckpt is not there"):
        read_checkpoint(path)
    torch.save({"patchlight": make_record({"a": 1}), "state_dict": {"x": torch.ones(2)}}, path)
    assert read_checkpoint(path)["patchlight"]["config"] == {"a": 1}
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="x.ckpt is damaged"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="x.ckpt is damaged"):
        read_checkpoint(path)
    torch.save({"patchlight": make_record({}), "x": Malicious()}, path)
    with pytest.raises(DataError, match="x.ckpt holds more than tensors and plain values and was not loaded"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out
    torch.save({"state_dict": {}}, path)
    with pytest.raises(DataError, match="x.ckpt is not a checkpoint of patchlight"):
        read_checkpoint(path)
    torch.save({"patchlight": {"format": 99, "version": "9.9"}}, path)
    with pytest.raises(DataError, match=r"was written by patchlight 9.9, which is newer"):
        read_checkpoint(path)


def test_worker_errors_keep_only_what_is_for_the_user() -> None:
    trace = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n"
    assert str(DataError(f"{trace}patchlight.errors.DataError: x.png is odd\n")) == "x.png is odd"
    assert issubclass(DataError, UserError)
    assert issubclass(UserError, ValueError)


def test_manifest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest = make_manifest(3, {}, {"root": "x"})
    assert manifest["command"] is None  # outside of the command; see test_train for its own
    assert manifest["seed"] == 3
    assert manifest["hardware"]["torch_threads"] >= 1
    assert {"python", "torch", "lightning", "hydra-core"} <= set(manifest["versions"])
    if manifest["git"] is not None:
        assert len(manifest["git"]["commit"]) == 40
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_manifest(3, {}, {})["git"] is None
