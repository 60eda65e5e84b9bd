"""`patchlight-export format=reference`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands import Typed
from patchlight.interop import reference_state_dict
from patchlight.methods import TranslationMethod

Make = Callable[..., TranslationMethod]


def test_pix2pix(make: Make, typed: Typed) -> None:
    method = make("pix2pix", "data.direction=BtoA", "model.generator.dropout=false")
    status, said, complaints = typed("export", "ckpt=model.ckpt", "output=out", "format=reference")
    assert (status, complaints) == (0, "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["latest_net_D.pth", "latest_net_G.pth"]
    for name, file in (("generator", "G"), ("discriminator", "D")):
        expected = reference_state_dict(method.get_submodule(name))
        written = torch.load(f"out/latest_net_{file}.pth", weights_only=True)
        assert list(written) == list(expected)
        assert all(torch.equal(written[key], value) for key, value in expected.items())
    assert "A is domain B as it lies on the disk and its B is A, by its option --direction BtoA" in said
    assert "--model pix2pix --netG unet_32 --ngf 4 --norm batch --no_dropout --netD n_layers --n_layers_D 3" in said
    assert "note: its define_G has no name for num_downs=5" in said


def test_cyclegan_and_its_names(make: Make, typed: Typed) -> None:
    """The reference's D_A judges what G_A makes, which is of domain B."""
    method = make("cyclegan", ema=True)
    assert typed("export", "ckpt=model.ckpt", "output=out", "format=reference", "weights=raw")[0] == 0
    for name, file in {
        "generator_ab": "G_A", "generator_ba": "G_B", "discriminator_b": "D_A", "discriminator_a": "D_B",
    }.items():  # fmt: skip
        written = torch.load(f"out/latest_net_{file}.pth", weights_only=True)
        for key, value in reference_state_dict(method.get_submodule(name)).items():
            assert torch.equal(written[key], value)
    assert typed("export", "ckpt=model.ckpt", "output=averages", "format=reference")[0] == 0
    raw, averaged = (torch.load(f"{folder}/latest_net_G_A.pth", weights_only=True) for folder in ("out", "averages"))
    assert torch.equal(averaged["model.1.weight"], raw["model.1.weight"] * 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.generator.num_downs=4", "no U-Net with num_downs=4: the reference code's has at least 5"),
        ("model.discriminator.spectral_norm=true", "cannot hold discriminator: the reference code has no PatchDiscrim"),
    ],
)
def test_what_the_reference_does_not_have(make: Make, typed: Typed, override: str, message: str) -> None:
    make("pix2pix", override)
    status, said, complaints = typed("export", "ckpt=model.ckpt", "output=out", "format=reference")
    assert (status, said) == (1, "")
    assert message in complaints
    assert complaints.count("\n") == 1
    assert not Path("out").exists()
