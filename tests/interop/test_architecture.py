"""Networks recognised by their tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from golden import files, load
from patchlight.interop import load_reference_weights, reference_state_dict
from patchlight.interop.architecture import infer
from patchlight.networks import (
    GlobalGenerator,
    PatchDiscriminator,
    PixelDiscriminator,
    ResNetGenerator,
    UNetGenerator,
)

KINDS = {"UnetGenerator": "unet", "ResnetGenerator": "resnet", "NLayerDiscriminator": "patch",
         "PixelDiscriminator": "pixel", "GlobalGenerator": "global", "LocalEnhancer": "local",
         "MultiscaleDiscriminator": "multiscale"}  # fmt: skip


@pytest.mark.parametrize("family", ["nlayer_d", "pixel_d", "unet", "resnet"])
def test_every_golden_network(family: str, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        with subtests.test(path.stem):
            golden = load(path)
            ctor = golden.meta["ctor"]
            found = infer(golden.weights(golden.meta["keys"]))
            assert found.kind == KINDS[ctor["cls"]]
            assert found.in_channels == ctor["input_nc"]
            assert found.out_channels == ctor.get("output_nc", 1)
            expected = {
                key: ctor[key] for key in ("num_downs", "ngf", "ndf", "n_blocks", "n_layers", "norm") if key in ctor
            }
            if found.kind == "pixel":
                expected.pop("n_layers", None)
            if "dropout" in found.settings:
                assert found.settings["dropout"] == ctor["use_dropout"]
            if "padding" not in found.unknown and found.kind == "resnet":
                assert found.settings["padding"] == ctor["padding_type"] == "zero"
            assert {key: found.settings[key] for key in expected} == expected


OURS = {
    "num_D": "num_scales", "n_downsample_global": "n_downsampling", "n_blocks_global": "n_blocks", "ngf": "ngf",
    "n_downsampling": "n_downsampling", "n_blocks": "n_blocks", "n_local_enhancers": "n_local_enhancers", "ndf": "ndf",
    "n_blocks_local": "n_blocks_local", "n_layers": "n_layers", "norm": "norm",
}  # fmt: skip
"""Our names of the reference's settings."""


@pytest.mark.parametrize("family", ["hd_generators", "hd_multiscale"])
def test_every_golden_network_of_pix2pixhd(family: str, shared: Path, subtests: pytest.Subtests) -> None:
    for path in files(family, shared):
        with subtests.test(path.stem):
            golden = load(path)
            ctor = golden.meta["ctor"]
            found = infer(golden.weights(golden.meta["keys"]))
            assert found.kind == KINDS[ctor["cls"]]
            assert (found.in_channels, found.out_channels) == (ctor["input_nc"], ctor.get("output_nc", 1))
            assert found.settings == {OURS[key]: value for key, value in ctor.items() if key in OURS}


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_two_halvings_are_a_resnet_generator_or_with_biases_a_global_one(norm: Any) -> None:
    """With instance norm these are one and the same network."""
    state = reference_state_dict(GlobalGenerator(3, 1, ngf=2, n_downsampling=2, n_blocks=1, norm=norm))
    found = infer(state)
    assert found.kind == ("global" if norm == "batch" else "resnet")
    if norm == "instance":
        load_reference_weights(ResNetGenerator(3, 1, n_blocks=1, ngf=2), state)


def of_instance_norm_with_statistics() -> dict[str, torch.Tensor]:
    """As releases of PyTorch before 0.4 wrote it, on several GPUs."""
    state = dict(reference_state_dict(ResNetGenerator(3, 3, n_blocks=1, ngf=2)))
    for layer, width in (("model.2", 2), ("model.5", 4), ("model.8", 8)):
        state |= {f"{layer}.running_mean": torch.zeros(width), f"{layer}.running_var": torch.ones(width)}
    return {f"module.{key}": value for key, value in state.items()}


def test_old_files() -> None:
    assert infer(of_instance_norm_with_statistics()).settings == {
        "n_blocks": 1, "ngf": 2, "norm": "instance", "dropout": False, "antialias": "none",
    }  # fmt: skip


@pytest.mark.parametrize("antialias", ["none", "down", "up", "both"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_networks_of_cut(antialias: Any, norm: Any) -> None:
    state = reference_state_dict(ResNetGenerator(3, 1, n_blocks=2, ngf=2, norm=norm, antialias=antialias))
    found = infer(state)
    assert found.settings == {
        "n_blocks": 2, "ngf": 2, "norm": norm, "dropout": False, "antialias": antialias,
    }  # fmt: skip
    assert sum(key.endswith(".filt") for key in state) == {"none": 0, "down": 2, "up": 2, "both": 4}[antialias]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (reference_state_dict(PatchDiscriminator(3, ndf=2)) | {"model.2.filt": torch.ones(2, 1, 3, 3)},
         "model.2.filt is one of 1 filters, of which 3 are known"),
        ({"mlp_1.0.weight": torch.ones(2, 2), "mlp_1.2.weight": torch.ones(2, 2)}, "mlp_1.0, mlp_1.2 are no perceptr"),
        ({"model.0.weight_orig": torch.ones(1, 1, 4, 4)}, "weight_orig is of a spectral norm"),
        ({"fc.weight": torch.ones(3, 3)}, "fc.weight and the others are of no convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 5)).state_dict(), r"0.weight of shape \(4, 3, 5, 5\) begins none of the"),
        (reference_state_dict(ResNetGenerator(3, 3, 1, 2)) | {"model.9.filt": torch.ones(2, 1, 5, 5)},
         r"model.9.filt and the others are filters of \[5\] pixels"),
    ],
)  # fmt: skip
def test_what_is_not_known(state: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer(state)


def test_both_discriminators() -> None:
    assert infer(reference_state_dict(PatchDiscriminator(6, ndf=2, n_layers=4, norm="none"))).settings == {
        "ndf": 2, "n_layers": 4, "norm": "none", "antialias": False,
    }  # fmt: skip
    assert infer(reference_state_dict(PatchDiscriminator(3, 2, n_layers=2, norm="none", antialias=True))).settings == {
        "ndf": 2, "n_layers": 2, "norm": "none", "antialias": True,
    }  # fmt: skip
    assert infer(reference_state_dict(PixelDiscriminator(6, ndf=2, norm="instance"))).settings == {
        "ndf": 2, "norm": "instance",
    }  # fmt: skip
    assert infer(reference_state_dict(UNetGenerator(1, 2, num_downs=6, ngf=2))).unknown == ("dropout",)
