from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image

from patchlight.data import Augment, ImageDataModule, SampleKey, SyntheticSet, normalise
from patchlight.data.images import read_image, to_array, to_planes
from patchlight.errors import DataError


@pytest.fixture
def paired(tmp_path: Path, save: Any) -> Path:
    for i in range(6):
        save(f"train/{i}.png")
    for i in range(3):
        save(f"test/{i}.png")
    return tmp_path


@pytest.fixture
def unpaired(tmp_path: Path, save: Any) -> Path:
    for i in range(5):
        save(f"two/trainA/{i}.png", 24, 24)
    for i in range(7):
        save(f"two/trainB/{i}.png", 24, 24)
    for i in range(2):
        save(f"two/testA/{i}.png", 24, 24)
        save(f"two/testB/{i}.png", 24, 24)
    return tmp_path / "two"


def module(root: Path, pairing: Any = "paired", **settings: Any) -> ImageDataModule:
    defaults: dict[str, Any] = {"load_size": 20, "image_size": 16, "num_workers": 0, "val_size": 0}
    data = ImageDataModule(**({"root": root, "pairing": pairing} | defaults | settings))
    data.setup()
    return data


def epoch_of(data: ImageDataModule, epoch: int = 0) -> dict[str, Any]:
    """Every sample of an epoch, by the file of A."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return {path: (b["A"][i], b["B"][i], b["B_path"][i]) for b in loader for i, path in enumerate(b["A_path"])}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k][0], b[k][0]) and torch.equal(a[k][1], b[k][1]) and a[k][2] == b[k][2] for k in a
    )


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_batches(pairing: str, request: pytest.FixtureRequest) -> None:
    data = module(request.getfixturevalue(pairing), pairing, batch_size=2)
    batch = next(iter(data.train_dataloader()))
    assert batch["A"].shape == batch["B"].shape == (2, 3, 16, 16)
    assert batch["A"].dtype == torch.uint8
    seen = normalise(batch)
    assert seen["A"].dtype == torch.float32
    assert -1 <= seen["A"].min() < seen["A"].max() <= 1
    assert torch.equal(seen["B"], (batch["B"].float() / 255 - 0.5) / 0.5)
    assert seen["A_path"] is batch["A_path"]
    assert normalise(seen)["A"] is seen["A"], "twice does no harm"
    assert len(batch["A_path"]) == len(batch["B_path"]) == 2
    assert {Path(p).exists() for p in batch["A_path"]} == {True}


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_samples_do_not_depend_on_workers(pairing: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(pairing)
    alone, two = module(root, pairing), module(root, pairing, num_workers=2)
    loader = two.train_dataloader()
    for epoch in (0, 1):
        expected = epoch_of(alone, epoch)
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        drawn = {b["A_path"][0]: (b["A"][0], b["B"][0], b["B_path"][0]) for b in loader}
        assert same(drawn, expected), "persistent workers know the epoch"
    assert same(epoch_of(alone, 1), epoch_of(module(root, pairing), 1))
    assert not same(epoch_of(alone, 0), epoch_of(alone, 1))
    assert not same(epoch_of(alone, 0), epoch_of(module(root, pairing, seed=1), 0))


class Rank:
    """The part of a trainer that says which rank this is."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.global_rank, self.world_size, self.num_devices = rank, world_size, world_size


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_samples_do_not_depend_on_the_number_of_ranks(pairing: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(pairing)
    together = set()
    for rank in range(2):
        data = module(root, pairing)
        data.trainer = Rank(rank, 2)  # type: ignore[assignment]
        assert len(data.train_dataloader()) == (3 if pairing == "paired" else 4)
        assert len(data.test_dataloader()) == ((2, 1) if pairing == "paired" else (1, 1))[rank]
        together |= samples_of(data, 3)
    assert together == samples_of(module(root, pairing), 3)
    assert len(together) == (6 if pairing == "paired" else 7)


def samples_of(data: ImageDataModule, epoch: int) -> set[tuple[Any, ...]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return {(*b["A_path"], *b["B_path"], b["A"].numpy().tobytes(), b["B"].numpy().tobytes()) for b in loader}


class Recorder(LightningModule):
    """Keeps the batches that a trainer hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.automatic_optimization = False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.seen.append(batch)

    def configure_optimizers(self) -> None:
        return None


def as_seen(image: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return image.to(torch.float32).div(255).sub(0.5).div(0.5).to(dtype)


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_trainer_moves_the_epochs_on(workers: int, paired: Path) -> None:
    data, recorder = module(paired, num_workers=workers), Recorder()
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(recorder, datamodule=data)
    for epoch in range(3):
        drawn = {b["A_path"][0]: (b["A"][0], b["B"][0], b["B_path"][0]) for b in recorder.seen[6 * epoch :][:6]}
        expected = {k: (as_seen(a), as_seen(b), path) for k, (a, b, path) in epoch_of(module(paired), epoch).items()}
        assert same(drawn, expected)


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`")
@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)])
def test_steps_see_the_precision_that_was_asked_for(precision: Any, dtype: torch.dtype, paired: Path) -> None:
    data, recorder = module(paired), Recorder()
    trainer = Trainer(
        max_steps=-1, max_epochs=1, accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(recorder, datamodule=data)
    expected = epoch_of(module(paired))
    assert len(recorder.seen) == 6
    for batch in recorder.seen:
        assert batch["A"].dtype == dtype
        assert torch.equal(batch["A"][0], as_seen(expected[batch["A_path"][0]][0], dtype))


def test_starting_workers_leaves_the_global_generator_alone(paired: Path) -> None:
    before = torch.get_rng_state()
    next(iter(module(paired, num_workers=1).train_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)


def test_both_of_a_pair_get_the_same_geometry(tmp_path: Path) -> None:
    half = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    (tmp_path / "train").mkdir()
    Image.fromarray(np.concatenate([half, half], axis=1)).save(tmp_path / "train" / "x.png")
    data = module(tmp_path)
    crops = []
    for epoch in range(8):
        ((a, b, _),) = epoch_of(data, epoch).values()
        assert torch.equal(a, b)
        crops.append(a)
    assert len({tuple(c.flatten().tolist()) for c in crops}) > 4


def test_partners_of_unpaired_images_change(unpaired: Path) -> None:
    data = module(unpaired, "unpaired")
    assert len(data.train_dataloader()) == 7
    partners = [[epoch_of(data, e)[p][2] for p in sorted(epoch_of(data, e))] for e in range(4)]
    assert len({tuple(p) for p in partners}) == 4


def test_evaluation_is_whole_and_in_order(paired: Path) -> None:
    data = module(paired, max_eval=2)
    loader = data.test_dataloader()
    batches = list(loader)
    assert [Path(b["A_path"][0]).name for b in batches] == ["0.png", "1.png"]
    whole = read_image(paired / "test" / "0.png").crop((24, 0, 48, 24)).resize((16, 16), Image.Resampling.BICUBIC)
    assert torch.equal(batches[0]["B"][0], to_planes(to_array(whole)))
    assert data.val_dataloader() == []
    assert data.describe()["images"] == {"train": {"A": 6, "B": 6}, "val": {"A": 0, "B": 0}, "test": {"A": 2, "B": 2}}


def test_direction_and_channels(paired: Path) -> None:
    plain, turned = module(paired, channels_b=1), module(paired, channels_b=1, direction="BtoA")
    assert plain.describe()["images"]["train"] == {"A": 6, "B": 6}
    a, b = next(iter(plain.test_dataloader())), next(iter(turned.test_dataloader()))
    assert (a["A"].shape[1], a["B"].shape[1]) == (3, 1)
    assert torch.equal(a["A"], b["B"])
    assert torch.equal(a["B"], b["A"])


def test_validation_split(paired: Path, save: Any) -> None:
    data = module(paired, val_size=2)
    trained = {Path(p).name for p in epoch_of(data)}
    validated = [Path(b["A_path"][0]).name for b in data.val_dataloader()]
    assert trained | set(validated) == {f"{i}.png" for i in range(6)}
    assert len(validated) == 2
    save("val/own.png")
    assert [Path(b["A_path"][0]).name for b in module(paired, val_size=2).val_dataloader()] == ["own.png"]
    assert len(module(paired, max_train=3).train_dataloader()) == 3


@pytest.mark.parametrize(("pairs", "kept"), [(1, 0), (2, 1), (12, 1), (29, 2), (160, 16), (400, 16)])
def test_at_most_a_tenth_is_kept_for_validation(pairs: int, kept: int, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    image = Image.fromarray(np.zeros((16, 32, 3), np.uint8))
    image.save(tmp_path / "train" / "0.png")
    for i in range(1, pairs):
        (tmp_path / "train" / f"{i}.png").hardlink_to(tmp_path / "train" / "0.png")
    data = module(tmp_path, val_size="auto")
    assert data.describe()["images"]["val"] == {"A": kept, "B": kept}
    assert data.describe()["images"]["train"] == {"A": pairs - kept, "B": pairs - kept}
    verb = "is" if kept == 1 else "are"
    note = f"{kept} of the {pairs} training pairs {verb} kept for validation, as there is no val split"
    if pairs == 1:
        note = "with one training image none is kept for validation"
    assert data.notes == ([f"data.val_size=auto: {note}"] if kept < 16 else [])
    if pairs == 29:
        assert module(tmp_path, val_size=5).notes == [], "a number is obeyed"


def test_integer_keys_mean_the_first_epoch(paired: Path) -> None:
    dataset = module(paired).train_dataloader().dataset
    assert torch.equal(dataset[2]["A"], dataset[SampleKey(0, 2)]["A"])  # type: ignore[arg-type]


def test_colours_change_only_the_domain_that_was_asked_for(paired: Path, unpaired: Path) -> None:
    augment = Augment(colour_a=[albumentations.RandomBrightnessContrast(p=1.0)])
    for root, pairing in ((paired, "paired"), (unpaired, "unpaired")):
        plain, coloured = epoch_of(module(root, pairing)), epoch_of(module(root, pairing, augment=augment))
        assert all(torch.equal(plain[k][1], coloured[k][1]) for k in plain)
        assert not any(torch.equal(plain[k][0], coloured[k][0]) for k in plain)
        assert same(coloured, epoch_of(module(root, pairing, augment=augment, num_workers=2)))
        assert not same(coloured, epoch_of(module(root, pairing, augment=augment), 1))


def test_geometry_moves_a_pair_together(tmp_path: Path) -> None:
    half = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    (tmp_path / "train").mkdir()
    Image.fromarray(np.concatenate([half, half], axis=1)).save(tmp_path / "train" / "x.png")
    augment = Augment(geometry=[albumentations.Affine(rotate=(-30, 30), p=1.0)])
    ((a, b, _),) = epoch_of(module(tmp_path, augment=augment)).values()
    ((plain, _, _),) = epoch_of(module(tmp_path)).values()
    assert torch.equal(a, b)
    assert not torch.equal(a, plain)
    ((a, b, _),) = epoch_of(module(tmp_path, "unpaired", augment=augment, flip=False, load_size=16)).values()
    assert not torch.equal(a, b)


def test_augmentation_must_keep_the_size(paired: Path) -> None:
    augment = Augment(colour_b=[albumentations.Resize(8, 8)])
    with pytest.raises(DataError, match=r"data.augment changes images of domain B from \(16, 16, 3\) to \(8, 8, 3\)"):
        epoch_of(module(paired, augment=augment))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "data.batch_size=0 should be an integer of at least 1"),
        ({"num_workers": -1}, "data.num_workers=-1 should be an integer of at least 0"),
        ({"cache": -1}, "data.cache=-1 should be auto, or a number of GiB of at least 0"),
        ({"cache": float("nan")}, "data.cache=nan should be auto, or a number of GiB of at least 0"),
        ({"image_size": [16]}, r"data.image_size=\[16\] should be a positive number of pixels, or \[height, width\]"),
        ({"load_size": 8}, "data.load_size=8 is smaller than data.image_size=16"),
        ({"preprocess": "scale_width_and_crop", "load_size": 8}, "data.load_size=8 is smaller than data.image_size=16"),
        ({"preprocess": "foo"}, "data.preprocess=foo should be one of resize_and_crop, crop, scale_width, scale_w"),
        ({"pairing": "foo"}, "data.pairing=foo should be one of paired, unpaired"),
        ({"layout": "foo"}, "data.layout=foo should be one of auto, side_by_side, folders"),
        ({"direction": "foo"}, "data.direction=foo should be one of AtoB, BtoA"),
        (
            {"channels_b": 4},
            r"channels_b=4 does not suit .*0.png: it has 3 channels \(RGB\) where 4 \(RGBA\) are",
        ),
        ({"channels_b": 0}, "data.channels_b=0 should be an integer of at least 1"),
        ({"image_size": "abc"}, "data.image_size=abc should be a positive number of pixels"),
        ({"load_size": None}, "data.load_size=None should be a positive number of pixels"),
        ({"image_size": 1.5}, "data.image_size=1.5 should be a positive number of pixels"),
        ({"preprocess": "scale_width_and_crop", "size_multiple": 32}, "data.image_size=16x16 does not suit"),
        ({"size_multiple": 32}, "data.image_size=16x16 does not suit the generator, which needs multiples of 32"),
        ({"max_train": 0}, "data.max_train=0 should be an integer of at least 1"),
    ],
)
def test_refused_values(settings: dict[str, Any], message: str, paired: Path) -> None:
    with pytest.raises(DataError, match=message):
        module(paired, **settings)


def test_the_home_folder_can_be_written_short(paired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(paired.parent))
    assert module(Path("~") / paired.name).root == paired


def test_the_built_in_set_is_rendered_and_then_read_as_any_other(tmp_path: Path) -> None:
    data = ImageDataModule(
        tmp_path / "set", "paired", load_size=64, image_size=64, num_workers=0, val_size=1,
        render=SyntheticSet(n_train=3, n_test=1, size=64),
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    assert data.describe()["images"] == {"train": {"A": 2, "B": 2}, "val": {"A": 1, "B": 1}, "test": {"A": 1, "B": 1}}
    assert next(iter(data.test_dataloader()))["A"].shape == (1, 3, 64, 64)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_file_is_said_in_one_line(workers: int, tmp_path: Path, save: Any) -> None:
    cases = {
        "odd": (lambda: save("train/x.png", 24, 47), {}, "x.png is 47 pixels wide, an odd number"),
        "small": (lambda: save("train/x.png", 8, 40), {"preprocess": "crop"}, "x.png is 20x8 pixels, too small"),
        "multiple": (
            lambda: save("train/x.png", 20, 40), {"preprocess": "none", "size_multiple": 8},
            "x.png is 20x20 pixels after data.preprocess=none, but the generator needs .* multiples of 8",
        ),
        "cut": (
            lambda: cut_short(save("train/x.png")), {}, "x.png cannot be read as an image .*: replace or remove it",
        ),
        "patch": (
            lambda: save("train/x.png", 20, 40), {"preprocess": "none", "min_size": 24},
            "x.png is 20x20 pixels .* patch map is empty below 24 pixels",
        ),
    }  # fmt: skip
    for make, settings, message in cases.values():
        make()
        with pytest.raises(DataError, match=message) as caught:
            epoch_of(module(tmp_path, num_workers=workers, **settings))
        traceback.clear_frames(caught.tb)  # or the worker is waited for until the garbage collector comes by
        assert "\n" not in str(caught.value)
        assert "Traceback" not in str(caught.value)


def test_pairs_of_different_size(tmp_path: Path, save: Any) -> None:
    save("trainA/x.png", 24, 24)
    save("trainB/x.png", 24, 30)
    with pytest.raises(
        DataError, match=r"trainA/x.png \(24x24\) and .*trainB/x.png \(30x24\) are a pair of different size"
    ):
        epoch_of(module(tmp_path))


def test_real_sets(shared: Path) -> None:
    data = module(shared / "data" / "facades", direction="BtoA", val_size=8)
    assert data.describe()["images"] == {
        "train": {"A": 392, "B": 392}, "val": {"A": 8, "B": 8}, "test": {"A": 106, "B": 106},
    }  # fmt: skip
    label = normalise(next(iter(data.test_dataloader())))["A"]
    assert label[:, 2].mean() > label[:, 0].mean() + 0.5, "label maps are mostly blue"
    data = module(shared / "data" / "tiny_orange2lemon", "unpaired", max_train=40)
    assert data.describe()["images"]["test"] == {"A": 50, "B": 50}
    assert all(a.shape == b.shape == (3, 16, 16) for a, b, _ in epoch_of(data).values())
    data = module(shared / "data" / "tshirt2longsleeve", "unpaired")
    assert data.describe()["images"] == {
        "train": {"A": 250, "B": 250}, "val": {"A": 0, "B": 0}, "test": {"A": 52, "B": 72},
    }  # fmt: skip
