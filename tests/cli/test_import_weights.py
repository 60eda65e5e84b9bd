"""`patchlight-import` as it is typed: what comes out computes what the reference computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import patchlight
from commands import Outcome, call_main
from golden import Golden, files, load
from patchlight.interop import reference_state_dict
from patchlight.networks import (
    GlobalGenerator,
    LocalEnhancer,
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PatchSample,
    PatchSampleMLP,
    ResNetGenerator,
    UNetGenerator,
)

Typed = Callable[..., Outcome]


@pytest.fixture
def typed(typed: Typed) -> Typed:
    """Runs the command in an empty folder: exit status and both outputs."""
    return partial(typed, "import_weights")


def save(network: torch.nn.Module, path: str, **how: Any) -> dict[str, torch.Tensor]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    state = reference_state_dict(network)
    torch.save(state, path, **how)
    return state


def padding_of(golden: Golden) -> list[str]:
    padding = golden.meta["ctor"].get("padding_type", "reflect")
    return ["padding=replicate"] if padding == "replicate" else []


@pytest.mark.untraced  # which does not rest on figures that are not part of the repository
@pytest.mark.parametrize("family", ["unet", "resnet"])
def test_golden_outputs(family: str, typed: Typed, shared: Path, subtests: pytest.Subtests) -> None:
    """From the reference's weights, by the command and the checkpoint, to the reference's images."""
    for path in files(family, shared):
        golden = load(path)
        with subtests.test(path.stem):
            expected = golden.weights(golden.meta["keys"])
            torch.save({f"module.{key}": value for key, value in expected.items()}, "latest_net_G.pth")
            arguments = ["input=latest_net_G.pth", "output=net.ckpt", "overwrite=true", "method=pix2pix"]
            status, _, complaints = typed(*arguments, *padding_of(golden))
            assert (status, complaints) == (0, "")
            translator = patchlight.load("net.ckpt", device="cpu", inference_mode="eval")
            result = translator(golden.noise(golden.meta["input_shape"], 0))
            np.testing.assert_allclose(result.numpy(), golden["out_eval"], rtol=0, atol=1e-5)
            written = reference_state_dict(translator.generator)
            assert all(torch.equal(value, expected[key]) for key, value in written.items() if key in expected)


def test_a_folder_of_pix2pixhd(typed: Typed) -> None:
    """With label maps of 4 classes and their instances, by a discriminator's file in the layout without features."""
    torch.manual_seed(0)
    generator = LocalEnhancer(5, 3, ngf=2, n_downsampling=1, n_blocks=1, n_blocks_local=1)
    save(generator, "run/latest_net_G.pth")
    discriminator = reference_state_dict(MultiscaleDiscriminator(8, ndf=2, n_layers=1, num_scales=2))
    numbers = {"0": "0", "1": "2", "2": "5"}  # without norms' parameters they count convolutions, norms and activations
    renamed = {
        f"layer{key[5]}.{numbers[key.split('_layer')[1][0]]}.{key.rpartition('.')[2]}": value
        for key, value in discriminator.items()
    }
    torch.save(renamed, "run/latest_net_D.pth")
    torch.save({"model.1.weight": torch.zeros(2, 3, 7, 7)}, "run/latest_net_E.pth")
    status, said, complaints = typed("input=run", "output=net.ckpt", "n_classes=4", "instances=true")
    assert (status, complaints) == (0, "")
    assert "latest_net_G.pth -> generator: local, 5 to 3 channels" in said
    assert "latest_net_D.pth -> discriminator: multiscale, 8 to 1 channels, ndf=2, n_layers=1, num_scales=2" in said
    assert "latest_net_E.pth, pix2pixHD's encoder of instance features, has no place" in said
    assert "model=pix2pixhd data=paired model/generator=local_enhancer" in said
    assert "data.n_classes=4 data.instances=true" in said
    model = patchlight.load("net.ckpt", device="cpu")
    labels = np.dstack([np.arange(256).reshape(16, 16) % 4, np.arange(256).reshape(16, 16)]).astype(np.uint8)
    one_hot = np.stack([*(labels[:, :, 0] == i for i in range(4)), np.ones((16, 16))]).astype(np.float32)
    with torch.no_grad():
        expected = generator(torch.from_numpy(one_hot)[None])[0]
    found = torch.from_numpy(model(labels)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    assert torch.equal(
        torch.load("net.ckpt", weights_only=True)["state_dict"]["discriminator.scales.1.0.0.weight"],
        discriminator["scale1_layer0.0.weight"],
    )
    status, _, complaints = typed("input=run", "output=other.ckpt", "n_classes=7")
    assert status == 1
    assert "n_classes=7 with instances=false makes 7 channels, and the generator reads 5" in complaints
    _, said, _ = typed("input=run", "output=other.ckpt")
    assert "note: domain A has 5 channels: if they are the classes of label maps, give n_classes=5, or" in said


def test_a_global_generator_alone(typed: Typed) -> None:
    save(GlobalGenerator(3, 3, ngf=2, n_downsampling=3, n_blocks=1, norm="batch"), "latest_net_G.pth")
    status, said, complaints = typed("input=latest_net_G.pth", "output=net.ckpt")
    assert (status, complaints) == (0, "")
    assert "model=pix2pixhd data=paired model/generator=global" in said


def test_a_folder_of_pix2pix(typed: Typed) -> None:
    torch.manual_seed(0)
    generator = save(UNetGenerator(1, 3, num_downs=6, ngf=4), "run/latest_net_G.pth")
    discriminator = save(PatchDiscriminator(4, ndf=4, n_layers=2), "run/latest_net_D.pth")
    save(UNetGenerator(1, 3, num_downs=6, ngf=4), "run/5_net_G.pth")
    status, said, complaints = typed("input=run", "output=net.ckpt", "direction=BtoA", "gan_mode=lsgan")
    assert (status, complaints) == (0, "")
    assert "latest_net_G.pth -> generator: unet, 1 to 3 channels, num_downs=6, ngf=4, norm=batch\n" in said
    assert (
        "latest_net_D.pth -> discriminator: patch, 4 to 1 channels, ndf=4, n_layers=2, norm=batch, antialias=False\n"
        in said
    )
    assert "note: the weights do not tell dropout: dropout=true is taken" in said
    assert "gan_mode" not in said.partition("to go on")[0]
    assert said.endswith(
        "to go on with training: patchlight-train model=pix2pix data=paired model/generator=unet_256 "
        "model/discriminator=patch34 model.generator.num_downs=6 model.generator.ngf=4 model.discriminator.ndf=4 "
        "model.gan_mode=lsgan data.direction=BtoA data.channels_b=1 init_from=net.ckpt data.root=FOLDER\n"
    )
    checkpoint = torch.load("net.ckpt", weights_only=True)
    assert checkpoint["patchlight"]["untrained"] == []
    config = checkpoint["patchlight"]["config"]
    assert (config["data"]["root"], config["data"]["direction"], config["data"]["channels_a"]) == (None, "BtoA", 3)
    own = patchlight.load("net.ckpt", device="cpu")
    assert (own.direction, own.inference_mode, own.in_channels, own.out_channels) == ("BtoA", "paper", 1, 3)
    assert all(torch.equal(value, generator[key]) for key, value in reference_state_dict(own.generator).items())
    judge = PatchDiscriminator(4, ndf=4, n_layers=2)
    prefix = "discriminator."
    judge.load_state_dict({k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if prefix in k})
    assert all(torch.equal(value, discriminator[key]) for key, value in reference_state_dict(judge).items())


def test_a_folder_of_cyclegan(typed: Typed) -> None:
    torch.manual_seed(0)
    states = {
        name: save(ResNetGenerator(3, 3, 2, 4, dropout=True), f"run/30_net_{name}.pth") for name in ("G_A", "G_B")
    }
    for name in ("D_A", "D_B"):
        states[name] = save(PatchDiscriminator(3, ndf=4, norm="instance"), f"run/30_net_{name}.pth")
    status, said, _ = typed("input=run", "output=net.ckpt", "epoch=30")
    assert status == 0
    assert "30_net_D_A.pth -> discriminator_b" in said
    assert "model.generator.dropout=true" in said
    found = torch.load("net.ckpt", weights_only=True)["state_dict"]
    for name, role in {
        "G_A": "generator_ab", "G_B": "generator_ba", "D_A": "discriminator_b", "D_B": "discriminator_a",
    }.items():  # fmt: skip
        first = "model.1.weight" if name.startswith("G") else "model.0.weight"
        own = "layers.1.weight" if name.startswith("G") else "layers.0.weight"
        assert torch.equal(found[f"{role}.{own}"], states[name][first])


def test_a_lone_resnet_of_cut(typed: Typed) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(3, 3, n_blocks=2, ngf=4, antialias="both").eval()
    save(network, "run/latest_net_G.pth", _use_new_zipfile_serialization=False)
    antialiased = dict(reference_state_dict(PatchDiscriminator(3, ndf=4, norm="instance")))
    torch.save(antialiased | {"model.2.filt": torch.ones(4, 1, 3, 3)}, "run/latest_net_D.pth")
    torch.save({"mlp_0.0.weight": torch.ones(2, 2)}, "run/latest_net_F.pth")
    status, said, _ = typed("input=run", "output=net.ckpt")
    assert status == 0
    assert "latest_net_D.pth is left out: model.2.filt is one of 1 filters, of which 3 are known" in said
    assert "latest_net_F.pth is left out: mlp_0.0 are no perceptrons of two layers each" in said
    assert "note: no file has discriminator_b, which begins with initial weights" in said
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(patchlight.load("net.ckpt", device="cpu")(image), network(image))
    record = torch.load("net.ckpt", weights_only=True)["patchlight"]
    assert record["untrained"] == ["generator_ba", "discriminator_a", "discriminator_b"]


@pytest.mark.parametrize("plain", [False, True])
def test_the_networks_of_cut(plain: bool, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """There and back again: what is exported has the tensors that were imported, in their order."""
    torch.manual_seed(0)
    channels = [3, 8, 16, 16, 16]
    networks: dict[str, nn.Module] = {
        "generator": ResNetGenerator(3, 3, n_blocks=6, ngf=4, antialias="both"),
        "discriminator": PatchDiscriminator(3, ndf=4, n_layers=2, norm="instance", antialias=True),
        "sampler": PatchSample() if plain else PatchSampleMLP(channels, nc=8),
    }
    files = {"generator": "G", "discriminator": "D", "sampler": "F"}
    states = {file: save(networks[role], f"run/latest_net_{file}.pth") for role, file in files.items()}
    status, said, _ = typed("input=run", "output=net.ckpt")
    assert status == 0
    groups = "model=cut data=unpaired model/generator=resnet_6 model/discriminator=patch34 model/sampler="
    assert groups + ("plain" if plain else "mlp") in said
    assert ("model.sampler.nc=8" in said) == (not plain)
    assert "latest_net_F.pth -> sampler" in said
    assert "no file has" not in said
    assert torch.load("net.ckpt", weights_only=True)["patchlight"]["untrained"] == []
    assert call_main("export", "ckpt=net.ckpt", "output=out", "format=reference") == 0
    said = capsys.readouterr().out
    projection = "--netF sample" if plain else "--netF mlp_sample --netF_nc 8"
    options = f"--model cut --netG resnet_6blocks --ngf 4 --normG instance --normD instance {projection}"
    assert f"{options} --nce_layers 0,4,8,12,16 --netD n_layers --n_layers_D 2 --ndf 4" in said
    assert "note:" not in said
    for file, state in states.items():
        written = torch.load(f"out/latest_net_{file}.pth", weights_only=True)
        assert list(written) == list(state)
        assert all(torch.equal(written[key], value) for key, value in state.items())


def test_the_discriminator_of_one_direction(typed: Typed) -> None:
    """One that sees the result alone is not pix2pix's, so the method is CycleGAN."""
    save(ResNetGenerator(3, 3, n_blocks=1, ngf=4), "run/latest_net_G.pth")
    save(PatchDiscriminator(3, ndf=4, norm="instance"), "run/latest_net_D.pth")
    status, said, _ = typed("input=run", "output=net.ckpt")
    assert status == 0
    assert "latest_net_D.pth -> discriminator_b" in said


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("executed").touch, ())


def test_what_cannot_be_used(typed: Typed) -> None:
    good = save(UNetGenerator(3, 3, num_downs=5, ngf=2), "run/latest_net_G.pth")
    torch.save({"a": Malicious()}, "code.pth")
    Path("broken.pth").write_bytes(Path("run/latest_net_G.pth").read_bytes()[:5000])
    torch.save({**good, "model.model.0.weight": torch.full((2, 3, 4, 4), torch.nan)}, "nan.pth")
    torch.save({key: value for key, value in good.items() if "model.model.1.model.1." not in key}, "hole.pth")
    torch.save({**good, "model.model.3.bias": torch.zeros(7)}, "shape.pth")
    torch.save([1, 2], "list.pth")
    torch.save({"model.0.weight": torch.zeros(1).expand(10**12)}, "vast.pth")
    save(PatchDiscriminator(5, ndf=2), "other/latest_net_D.pth")
    save(UNetGenerator(3, 3, num_downs=5, ngf=2), "other/latest_net_G.pth")
    for arguments, message in {
        ("input=code.pth",): "code.pth holds more than tensors and was not loaded, because that could run code",
        ("input=broken.pth",): "broken.pth cannot be read: ",
        ("input=nan.pth",): "nan.pth has values in model.model.0.weight that are not finite",
        ("input=hole.pth",): "hole.pth is no generator that patchlight has: a U-Net has as many convolutions",
        (
            "input=shape.pth",
        ): "shape.pth does not fit the network that it seems to be: model.model.3.bias has shape (7,)",
        ("input=vast.pth",): "vast.pth has no values of its own for each place of model.0.weight",
        ("input=list.pth",): "list.pth holds a list: a dictionary of tensors by name is needed",
        ("input=other", "method=pix2pix"): "D sees 5 channels where there should be 6",
        ("input=other/latest_net_D.pth",): "is a discriminator: give the generator",
        ("input=run", "epoch=7"): "run has no 7_net_G.pth or 7_net_G_A.pth; there are generators of epoch=latest",
        ("input=nowhere",): "input=nowhere is not there",
        ("input=run", "padding=zero"): "padding=zero is nothing that this generator has",
        ("input=run", "gan_mode=foo"): "gan_mode",
        (
            "input=run/latest_net_G.pth",
            "method=vae",
        ): "method=vae should be 'pix2pix', 'cyclegan', 'pix2pixhd' or 'cut'",
    }.items():
        status, said, complaints = typed(*arguments, "output=net.ckpt")
        assert status == 1, arguments
        assert message in complaints
        assert (said, complaints.count("\n")) == ("", 1)
    assert not Path("net.ckpt").exists()
    assert not Path("executed").exists()
    assert typed("input=run", "output=net.ckpt")[0] == 0
    before = Path("net.ckpt").read_bytes()
    assert "output=net.ckpt is there already" in typed("input=run", "output=net.ckpt")[2]
    assert Path("net.ckpt").read_bytes() == before


def test_wgangp_comes_with_its_penalty(typed: Typed) -> None:
    save(UNetGenerator(3, 3, num_downs=5, ngf=2, norm="instance"), "latest_net_G.pth")
    status, said, complaints = typed("input=latest_net_G.pth", "output=net.ckpt", "gan_mode=wgangp")
    assert (status, complaints) == (0, "")
    assert "model/penalty=wgan_gp" in said
    assert "model.gan_mode=wgangp" in said
