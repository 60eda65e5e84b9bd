"""What kind of network some weights belong to, as far as the tensors tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from patchlight.interop.reference import FILTER, reference_layers

Layers = Mapping[str, Mapping[str, Tensor]]

Kind = Literal["unet", "resnet", "patch", "pixel"]


@dataclass(frozen=True)
class Architecture:
    """A network of this project that the weights fit: its settings by their names in the configuration."""

    kind: Kind
    in_channels: int
    out_channels: int
    settings: dict[str, Any]
    unknown: tuple[str, ...] = field(default=())
    """Settings that leave no trace in the tensors."""

    @property
    def is_generator(self) -> bool:
        """Whether this makes images."""
        return self.kind in ("unet", "resnet")


def infer(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture of weights in the reference code's layout.

    Raises:
        ValueError: none that this project has.
    """
    parametrised = next((key for key in state if re.search(r"\.weight_(orig|u|v)$", key)), None)
    if parametrised is not None:
        raise ValueError(f"{parametrised} is of a spectral norm, which the reference's networks do not have")
    layers = reference_layers(state)
    first = next(iter(layers))
    weights = [tensors["weight"] for tensors in layers.values() if "weight" in tensors and tensors["weight"].ndim == 4]
    if not weights:
        raise ValueError(f"{next(iter(state))} and the others are of no convolution")
    if first.startswith("model.model."):
        return _unet(layers, weights)
    if first.startswith("net."):
        return _pixel(layers, weights)
    if any(".conv_block." in name for name in layers) or (first == "model.1" and weights[0].shape[-1] == 7):
        return _resnet(layers, weights)
    if first == "model.0" and weights[0].shape[-1] == 4:
        return _patch(layers, weights)
    raise ValueError(f"{first}.weight of shape {tuple(weights[0].shape)} begins none of the networks of the reference")


def _unet(layers: Layers, weights: list[Tensor]) -> Architecture:
    if len(weights) % 2:
        raise ValueError(f"a U-Net has as many convolutions up as down, and these are {len(weights)}")
    num_downs = len(weights) // 2
    settings = {"num_downs": num_downs, "ngf": weights[0].shape[0], "norm": _norm(layers, inner=1)}
    return Architecture(
        "unet", weights[0].shape[1], weights[-1].shape[1], settings, ("dropout",) if num_downs > 5 else ()
    )


def _resnet(layers: Layers, weights: list[Tensor]) -> Architecture:
    blocks: dict[str, list[int]] = {}
    for name, tensors in layers.items():
        match = re.fullmatch(r"(model\.\d+)\.conv_block\.(\d+)", name)
        if match and "weight" in tensors and tensors["weight"].ndim == 4:
            blocks.setdefault(match[1], []).append(int(match[2]))
    for name, numbers in blocks.items():
        if len(numbers) != 2:
            raise ValueError(f"{name}.conv_block has {len(numbers)} convolutions, a residual block 2")
    settings: dict[str, Any] = {"n_blocks": len(blocks), "ngf": weights[0].shape[0], "norm": _norm(layers, inner=0)}
    unknown = ["dropout", "padding"]
    if blocks:
        begin, end = next(iter(blocks.values()))
        # Between the two: norm, ReLU, perhaps dropout, and a layer that pads unless the convolution does.
        zero = begin == 0
        settings["dropout"] = end - begin == (4 if zero else 5)
        unknown = ["padding"]
        if zero:
            settings["padding"] = "zero"
            unknown = []
    settings["antialias"] = _antialias(layers)
    return Architecture("resnet", weights[0].shape[1], weights[-1].shape[0], settings, tuple(unknown))


def _antialias(layers: Layers) -> str:
    sizes = [tensors[FILTER].shape[-1] for tensors in layers.values() if FILTER in tensors]
    found = {(): "none", (3, 3): "down", (4, 4): "up", (3, 3, 4, 4): "both"}.get(tuple(sizes))
    if found is None:
        name = next(name for name, tensors in layers.items() if FILTER in tensors)
        raise ValueError(f"{name}.{FILTER} and the others are filters of {sizes} pixels: 3, 3, 4, 4 are known")
    return found


def _patch(layers: Layers, weights: list[Tensor]) -> Architecture:
    filters = next((name for name, tensors in layers.items() if FILTER in tensors), None)
    if filters is not None:
        raise ValueError(f"{filters}.{FILTER} is of an antialiased discriminator, which this project does not have")
    if len(weights) < 3:
        raise ValueError(f"a PatchGAN has at least 3 convolutions, and these are {len(weights)}")
    settings = {"ndf": weights[0].shape[0], "n_layers": len(weights) - 2, "norm": _norm(layers, inner=1)}
    return Architecture("patch", weights[0].shape[1], weights[-1].shape[0], settings)


def _pixel(layers: Layers, weights: list[Tensor]) -> Architecture:
    settings = {"ndf": weights[0].shape[0], "norm": _norm(layers, inner=1)}
    return Architecture("pixel", weights[0].shape[1], weights[-1].shape[0], settings)


def _norm(layers: Layers, inner: int) -> str:
    """Batch norm has weights; before instance norm convolutions have a bias, before no norm they have none.

    `inner` is the number of the first convolution that a norm follows. The statistics that instance norm had in old
    releases of PyTorch say nothing, because its weights are absent.
    """
    if any("weight" in tensors and tensors["weight"].ndim == 1 for tensors in layers.values()):
        return "batch"
    convolutions = [tensors for tensors in layers.values() if "weight" in tensors]
    return "instance" if "bias" in convolutions[min(inner, len(convolutions) - 1)] else "none"
