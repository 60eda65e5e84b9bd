"""What kind of network some weights belong to, as far as the tensors tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from patchlight.interop.reference import FILTER, reference_layers

Layers = Mapping[str, Mapping[str, Tensor]]

Kind = Literal["unet", "resnet", "patch", "pixel", "global", "local", "multiscale", "sampler"]


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
    def role(self) -> Literal["generator", "discriminator", "sampler"]:
        """What a method does with this network."""
        if self.kind == "sampler":
            return "sampler"
        return "generator" if self.kind in ("unet", "resnet", "global", "local") else "discriminator"


def infer(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture of weights in the reference code's layout.

    Raises:
        ValueError: none that this project has.
    """
    parametrised = next((key for key in state if re.search(r"\.weight_(orig|u|v)$", key)), None)
    if parametrised is not None:
        raise ValueError(f"{parametrised} is of a spectral norm, which the reference's networks do not have")
    layers = reference_layers(state)
    if all(re.fullmatch(r"mlp_\d+\.[02]", name) for name in layers):
        return _sampler(layers)
    first = next(iter(layers))
    weights = _convolutions(layers)
    if not weights:
        raise ValueError(f"{next(iter(state))} and the others are of no convolution")
    if first.startswith("model.model."):
        return _unet(layers, weights)
    if first.startswith("net."):
        return _pixel(layers, weights)
    if re.match(r"(scale\d+_)?layer\d+\.", first):
        return _multiscale(layers, weights)
    if any(name.startswith("model1_") for name in layers):
        return _local(layers)
    if _is_global(layers):
        return _global(layers)
    if any(".conv_block." in name for name in layers) or (first == "model.1" and weights[0].shape[-1] == 7):
        return _resnet(layers, weights)
    if first == "model.0" and weights[0].shape[-1] == 4:
        return _patch(layers, weights)
    raise ValueError(f"{first}.weight of shape {tuple(weights[0].shape)} begins none of the networks of the reference")


def _convolutions(layers: Layers) -> list[Tensor]:
    """The weights of all convolutions."""
    return [tensors["weight"] for tensors in layers.values() if "weight" in tensors and tensors["weight"].ndim == 4]


def _sampler(layers: Layers) -> Architecture:
    """CUT's projection, of which nothing is left without its perceptrons."""
    expected = [f"mlp_{i}.{number}" for i in range(len(layers) // 2) for number in (0, 2)]
    if list(layers) != expected or any(tensors.keys() != {"weight", "bias"} for tensors in layers.values()):
        raise ValueError(f"{', '.join(layers)} are no perceptrons of two layers each")
    return Architecture("sampler", 0, 0, {"nc": len(layers["mlp_0.0"]["bias"])} if layers else {})


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


def _is_global(layers: Layers) -> bool:
    """Whether these are of pix2pixHD's generator: other than the ResNet's, or with a bias in front of batch norm."""
    first = layers.get("model.1", {})
    if "weight" not in first or first["weight"].ndim != 4 or first["weight"].shape[-1] != 7:
        return False
    if any(FILTER in tensors for tensors in layers.values()):
        return False
    return _halvings(layers) not in (0, 2) or (_norm(layers, inner=0) == "batch" and "bias" in first)


def _halvings(layers: Layers) -> int:
    """How often features are halved: a convolution that doubles the width, and one on the way up that halves it."""
    doubling = [
        name
        for name, tensors in layers.items()
        if re.fullmatch(r"model\.\d+", name)
        and "weight" in tensors
        and tensors["weight"].ndim == 4
        and tensors["weight"].shape[-1] == 3
        and tensors["weight"].shape[0] == 2 * tensors["weight"].shape[1]
    ]
    return len(doubling) // 2


def _blocks_within(layers: Layers, prefix: str) -> int:
    return len({name.split(".conv_block.")[0] for name in layers if name.startswith(prefix) and ".conv_block." in name})


def _global(layers: Layers) -> Architecture:
    weights = _convolutions(layers)
    return Architecture("global", weights[0].shape[1], weights[-1].shape[0], _trunk(layers))


def _local(layers: Layers) -> Architecture:
    """Enhancers of the names model{n}_1 and model{n}_2, n = 1, 2 ..., beside the global generator, model."""
    numbers = {int(match[1]) for name in layers if (match := re.match(r"model(\d+)_", name))}
    enhancers = {name: tensors for name, tensors in layers.items() if name.startswith(f"model{max(numbers)}_")}
    weights = [
        tensors["weight"] for tensors in enhancers.values() if "weight" in tensors and tensors["weight"].ndim == 4
    ]
    settings = {
        **_trunk(layers), "ngf": weights[0].shape[0], "n_local_enhancers": len(numbers),
        "n_blocks_local": _blocks_within(layers, "model1_2."),
    }  # fmt: skip
    return Architecture("local", weights[0].shape[1], weights[-1].shape[0], settings)


def _trunk(layers: Layers) -> dict[str, Any]:
    """The settings of a global generator. Norm `none` leaves the traces of instance norm, which the reference has."""
    return {
        "ngf": layers["model.1"]["weight"].shape[0],
        "n_downsampling": _halvings(layers),
        "n_blocks": _blocks_within(layers, "model."),
        "norm": _norm(layers, inner=0),
    }


def _multiscale(layers: Layers, weights: list[Tensor]) -> Architecture:
    """Copies of the names scale{copy}_layer{group}, or layer{copy} where no features were kept."""
    num_scales = len({re.split(r"[._]", name)[0] for name in layers})
    n_layers = len(weights) // num_scales - 2
    if n_layers < 1 or len(weights) % num_scales:
        raise ValueError(f"{num_scales} scales have {len(weights)} convolutions, where each should have 3 or more")
    settings = {
        "ndf": weights[0].shape[0], "n_layers": n_layers, "num_scales": num_scales, "norm": _norm(layers, inner=0),
    }  # fmt: skip
    return Architecture("multiscale", weights[0].shape[1], weights[-1].shape[0], settings)


def _antialias(layers: Layers) -> str:
    sizes = [tensors[FILTER].shape[-1] for tensors in layers.values() if FILTER in tensors]
    found = {(): "none", (3, 3): "down", (4, 4): "up", (3, 3, 4, 4): "both"}.get(tuple(sizes))
    if found is None:
        name = next(name for name, tensors in layers.items() if FILTER in tensors)
        raise ValueError(f"{name}.{FILTER} and the others are filters of {sizes} pixels: 3, 3, 4, 4 are known")
    return found


def _patch(layers: Layers, weights: list[Tensor]) -> Architecture:
    if len(weights) < 3:
        raise ValueError(f"a PatchGAN has at least 3 convolutions, and these are {len(weights)}")
    n_layers, filters = len(weights) - 2, [name for name, tensors in layers.items() if FILTER in tensors]
    if len(filters) not in (0, n_layers):
        raise ValueError(f"{filters[0]}.{FILTER} is one of {len(filters)} filters, of which {n_layers} are known")
    norm = _norm(layers, inner=1)
    settings = {"ndf": weights[0].shape[0], "n_layers": n_layers, "norm": norm, "antialias": bool(filters)}
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
