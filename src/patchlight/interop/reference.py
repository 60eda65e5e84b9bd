"""Weights in the key layout of the reference code of CycleGAN and pix2pix, of CUT and of pix2pixHD, both ways."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from patchlight.networks import (
    GlobalGenerator,
    LocalEnhancer,
    MultiscaleDiscriminator,
    PatchDiscriminator,
    PatchSample,
    PatchSampleMLP,
    PixelDiscriminator,
    QuarterResNetGenerator,
    ResNetGenerator,
    UNetGenerator,
)
from patchlight.networks.layers import BlurDownsample, BlurUpsample, binomial
from patchlight.networks.residual import ResidualBlock

_INSTANCE_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

NETWORKS = {
    "generator": "G",
    "discriminator": "D",
    "generator_ab": "G_A",
    "generator_ba": "G_B",
    "discriminator_a": "D_B",
    "discriminator_b": "D_A",
    "sampler": "F",
}
"""The reference's names of the networks of all methods; CycleGAN's D_A judges what its G_A makes, of domain B."""

FILTER = "filt"
"""The constant that CUT's files hold for every antialiased change of resolution."""


def load_reference_weights(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that are laid out as the reference code's `latest_net_*.pth` files.

    The layers are matched in the order of the reference's layer numbers, so a dictionary in any order will do, and
    one of a network with dropout, whose numbers are shifted, loads into one without and the other way round. The
    `module.` prefix of DataParallel and the running statistics that old releases kept for instance norm are dropped.
    CUT's filters are compared with those of the network.

    Raises:
        ValueError: a network that the reference code does not have; or a layer or tensor is missing, left over or of
            another shape. Nothing has been loaded then.
    """
    _require_reference_options(network)
    layers = reference_layers(state_dict)
    _take_filters(layers, network)
    own = list(_parametrised_layers(network))
    own_has_statistics = any(isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm) for _, layer in own)
    if not own_has_statistics:
        layers = _without_statistics(layers)
    if len(layers) != len(own):
        raise ValueError(
            f"the weights have {len(layers)} layers with parameters, this {type(network).__name__} has {len(own)}: "
            f"its depth, norm or kind is another"
        )
    renamed: dict[str, Tensor] = {}
    for (reference_name, tensors), (name, layer) in zip(layers.items(), own, strict=True):
        expected = layer.state_dict()
        if "num_batches_tracked" in expected:  # not yet kept by the first releases of PyTorch
            tensors = {"num_batches_tracked": expected["num_batches_tracked"], **tensors}
        if set(tensors) != set(expected):
            raise ValueError(f"layer {reference_name} holds {sorted(tensors)}, expected {sorted(expected)} for {name}")
        for key, tensor in tensors.items():
            if tensor.shape != expected[key].shape:
                raise ValueError(
                    f"{reference_name}.{key} has shape {tuple(tensor.shape)}, "
                    f"expected {tuple(expected[key].shape)} for {name}.{key}"
                )
            renamed[f"{name}.{key}"] = tensor
    network.load_state_dict(renamed)


def reference_state_dict(network: nn.Module) -> OrderedDict[str, Tensor]:
    """The network's weights in the reference code's key layout and order, ready for `torch.save`.

    Raises:
        ValueError: a network that the reference code does not have.
    """
    _require_reference_options(network)
    names = iter(_reference_layer_names(network))
    layers = {
        reference_name: dict(layer.state_dict())
        for (_, layer), reference_name in zip(_parametrised_layers(network), names, strict=True)
    }
    layers |= {name: {FILTER: tensor} for name, tensor in _filters(network).items()}
    return OrderedDict(
        (f"{name}.{key}", tensor) for name, tensors in _in_order(layers).items() for key, tensor in tensors.items()
    )


def _require_reference_options(network: nn.Module) -> None:
    """Raise a ValueError that names an option of a generator which the reference code has not."""
    match network:
        case ResNetGenerator():
            lacking = {
                f"upsample={network.upsample}": network.upsample in ("nearest", "pixelshuffle"),
                f"block={network.block}": network.block != "residual",
                "attention=true": network.attention,
            }
        case UNetGenerator():
            lacking = {
                f"upsample={network.upsample}": network.upsample != "transposed",
                "attention=true": network.attention,
            }
        case QuarterResNetGenerator():
            raise ValueError("the reference code has no QuarterResNetGenerator")
        case _:
            lacking = {}
    for option, is_lacking in lacking.items():
        if is_lacking:
            raise ValueError(f"the reference code has no {type(network).__name__} with {option}")


def reference_layers(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each layer by the names of both, in the order of the reference's layer numbers."""
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state_dict.items():
        layer, _, parameter = key.removeprefix("module.").rpartition(".")
        layers.setdefault(layer, {})[parameter] = tensor
    return _in_order(layers)


def _in_order(layers: Mapping[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    def by_number(layer: str) -> tuple[bool, list[int]]:
        # pix2pixHD's local enhancers, model1_1 and so on, come after what its global generator, model, makes.
        return bool(re.match(r"model\d", layer)), [int(number) for number in re.findall(r"\d+", layer)]

    return {layer: layers[layer] for layer in sorted(layers, key=by_number)}


def _take_filters(layers: dict[str, dict[str, Tensor]], network: nn.Module) -> None:
    """Remove the filters from `layers`, once they are seen to be those that the network computes with."""
    found = {name: tensors[FILTER] for name, tensors in layers.items() if FILTER in tensors}
    own = _filters(network)
    if len(found) != len(own):
        raise ValueError(f"the weights have {len(found)} antialiasing filters, this network has {len(own)}")
    for (name, tensor), expected in zip(found.items(), own.values(), strict=True):
        if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, atol=1e-6):
            raise ValueError(f"{name}.{FILTER} is another filter than that of this network's layer")
        del layers[name][FILTER]
        if not layers[name]:
            del layers[name]


def _filters(network: nn.Module) -> dict[str, Tensor]:
    """CUT's constants for the antialiased layers of a network, by the names of those layers."""
    if not isinstance(network, ResNetGenerator | PatchDiscriminator):
        return {}
    filters: dict[str, Tensor] = {}
    seen: list[nn.Conv2d | nn.ConvTranspose2d] = []
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    for number, layer in zip(_layer_numbers(network), network.layers, strict=True):
        if isinstance(layer, BlurDownsample):
            filters[f"model.{number}"] = binomial(3).repeat(seen[-1].out_channels, 1, 1, 1)
        elif isinstance(layer, BlurUpsample):
            filters[f"model.{number}"] = (4 * binomial(4)).repeat(convolutions[len(seen)].in_channels, 1, 1, 1)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            seen.append(layer)
    return filters


def _without_statistics(layers: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    stripped = {
        layer: {key: tensor for key, tensor in tensors.items() if key not in _INSTANCE_STATISTICS}
        for layer, tensors in layers.items()
    }
    return {layer: tensors for layer, tensors in stripped.items() if tensors}


def _parametrised_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that hold tensors, in the order of the forward pass."""
    if any(parametrize.is_parametrized(module) for module in network.modules()):
        raise ValueError(f"the reference code has no {type(network).__name__} with spectral_norm=true")
    return [
        (name, module)
        for name, module in network.named_modules()
        if not list(module.children()) and module.state_dict()
    ]


def _reference_layer_names(network: nn.Module) -> list[str]:
    """The reference's names of the layers with parameters; it counts every layer, a left-out norm included."""
    match network:
        case PatchDiscriminator() | PixelDiscriminator():
            prefix = "model" if isinstance(network, PatchDiscriminator) else "net"
            numbered = zip(_layer_numbers(network), network.layers, strict=True)
            return [f"{prefix}.{number}" for number, layer in numbered if layer.state_dict()]
        case PatchSampleMLP():
            return [f"mlp_{i}.{n}" for i in range(len(network.mlps)) for n in (0, 2)]
        case PatchSample():
            return []
        case ResNetGenerator():
            return _resnet_names(network)
        case UNetGenerator():
            return _unet_names(network)
        case MultiscaleDiscriminator():
            return [
                f"scale{copy}_layer{group}.{number}"
                for copy, scale in enumerate(network.scales)
                for group, layers in enumerate(scale.children())
                for number in _numbers_within(layers)
            ]
        case GlobalGenerator():
            return [f"model.{number}" for number in _numbers_within(network.trunk, network.head)]
        case LocalEnhancer():
            return _enhancer_names(network)
    raise ValueError(f"the reference code has no {type(network).__name__}")


def _has_norm(network: nn.Module) -> bool:
    return any(isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d) for m in network.modules())


def _layer_numbers(network: ResNetGenerator | PatchDiscriminator | PixelDiscriminator) -> list[int]:
    """The reference's number of each layer, in which an absent norm still takes a number."""
    if isinstance(network, ResNetGenerator):
        return network.layer_numbers()
    numbers, number = [], 0
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    for layer in network.layers:
        numbers.append(number)
        is_inner = isinstance(layer, nn.Conv2d) and layer is not convolutions[0] and layer is not convolutions[-1]
        number += 2 if is_inner and not _has_norm(network) else 1
    return numbers


def _resnet_names(network: ResNetGenerator) -> list[str]:
    names: list[str] = []
    has_norm = _has_norm(network)
    for number, layer in zip(_layer_numbers(network), network.layers, strict=True):
        if isinstance(layer, ResidualBlock):
            inner = 0
            for part in layer.layers:
                if part.state_dict():
                    names.append(f"model.{number}.conv_block.{inner}")
                inner += 1 + (isinstance(part, nn.Conv2d) and not has_norm)
        elif layer.state_dict():
            names.append(f"model.{number}")
    return names


def _numbers_within(*parts: nn.Module) -> list[str]:
    """Numbers of the layers with parameters in a sequence that lies in several parts, with those within blocks."""
    numbers: list[str] = []
    for number, layer in enumerate(layer for part in parts for layer in part.children()):
        if isinstance(layer, ResidualBlock):
            numbers += [f"{number}.conv_block.{inner}" for inner in _numbers_within(layer.layers)]
        elif layer.state_dict():
            numbers.append(str(number))
    return numbers


def _enhancer_names(network: LocalEnhancer) -> list[str]:
    """The global generator's are `model`, those of the n-th enhancer `model{n}_1` and `model{n}_2`."""
    names = [f"model.{number}" for number in _numbers_within(network.coarse)]
    for n, enhancer in enumerate(network.enhancers, start=1):
        up = [enhancer.get_submodule("up"), *([network.head] if n == len(network.enhancers) else [])]
        names += [f"model{n}_1.{number}" for number in _numbers_within(enhancer.get_submodule("down"))]
        names += [f"model{n}_2.{number}" for number in _numbers_within(*up)]
    return names


def _unet_names(network: UNetGenerator) -> list[str]:
    """Nested blocks: a level is [activation, down, norm, (next level), activation, up, norm], its ends lack some."""
    levels = network.num_downs
    prefixes = ["model"]
    for level in range(1, levels):
        prefixes.append(f"{prefixes[-1]}.model.{1 if level == 1 else 3}")
    has_batch_norm = any(isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm) for m in network.modules())
    names: list[str] = []
    for level, prefix in enumerate(prefixes):
        outermost, innermost = level == 0, level == levels - 1
        names.append(f"{prefix}.model.{0 if outermost else 1}")
        if has_batch_norm and not (outermost or innermost):
            names.append(f"{prefix}.model.2")
    for level, prefix in reversed(list(enumerate(prefixes))):
        outermost, innermost = level == 0, level == levels - 1
        up = 3 if outermost or innermost else 5
        names.append(f"{prefix}.model.{up}")
        if has_batch_norm and not outermost:
            names.append(f"{prefix}.model.{up + 1}")
    return names
