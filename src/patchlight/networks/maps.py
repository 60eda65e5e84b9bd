"""The maps of logits that a discriminator makes: one, or one for each scale, and their shapes for an image."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

OTHER_CHANNELS = (3, 6, 1, 4, 2)
"""Channels of images that are tried after those of the network's own convolutions."""

Maps = tuple[Tensor, ...]
"""The maps of logits of a discriminator, B 1 h w, one for each scale."""


class EmptyMapError(ValueError):
    """An image is so small that not a single patch of it is left."""


def as_maps(output: Tensor | Sequence[Tensor]) -> Maps:
    """The maps of a discriminator, however many it returns.

    Raises:
        ValueError: something else than maps.
    """
    maps = (output,) if isinstance(output, Tensor) else tuple(output)
    if not maps or not all(isinstance(each, Tensor) for each in maps):
        raise ValueError(f"a discriminator returns a map B 1 h w or a tuple of maps, not {type(output).__name__}")
    return maps


def map_suffixes(n_maps: int) -> list[str]:
    """The ends of the names of each map's figures and files: nothing for a single map, else `_scale1` and so on."""
    return [""] if n_maps == 1 else [f"_scale{number}" for number in range(1, n_maps + 1)]


@dataclass(frozen=True)
class PatchGrid:
    """Where on the image the patches of a map lie, in pixels of the image that the discriminator is given.

    Patches are squares of `field` pixels, `stride` apart; the centre of the first lies `offset` pixels from the upper
    left corner of the image, where a pixel's own centre is at 0.5. `size` is height and width of the map.
    """

    field: int
    stride: float
    offset: float
    size: tuple[int, int]

    def centre(self, index: int) -> float:
        """The coordinate of the centre of that row or column of the map."""
        return self.offset + index * self.stride

    def patch(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of what one value sees; it may reach beyond the image, into padding."""
        x, y, half = self.centre(column), self.centre(row), self.field / 2
        return x - half, y - half, x + half, y + half


def output_shapes(
    network: nn.Module, channels: Sequence[int], height: int, width: int
) -> tuple[int, list[tuple[int, ...]]]:
    """The first number of channels that a network takes, and the shapes of the maps, B C h w, of a real forward pass.

    It is done without data where that is possible.

    Raises:
        ValueError: the network takes no such image.
    """
    failures: list[str] = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for n_channels in channels:
            try:
                return n_channels, _shapes_without_data(
                    network, torch.empty(1, n_channels, height, width, device="meta")
                )
            except Exception:  # the network of anybody, in which values may decide what is done
                pass
            try:
                image = torch.ones(1, n_channels, height, width, dtype=torch.float64)
                return n_channels, [tuple(made.shape) for made in as_maps(skeleton(network)(image))]
            except Exception as error:
                failures.append(" ".join(str(error).split())[:200])
    raise ValueError(f"{type(network).__name__} takes no image of {height} x {width} px ({failures[0]})")


def _shapes_without_data(network: nn.Module, image: Tensor) -> list[tuple[int, ...]]:
    empty = copy_with(network, lambda tensor: torch.empty_like(tensor, device="meta"))
    with torch.no_grad(), torch.device("meta"):
        return [tuple(made.shape) for made in as_maps(empty(image))]


def takes(network: nn.Module, n_channels: int, side: int) -> bool:
    """Whether a network takes a square image, as far as that shows without data."""
    try:
        _shapes_without_data(network, torch.empty(1, n_channels, side, side, device="meta"))
    except Exception:  # the network of anybody
        return False
    return True


def possible_channels(network: nn.Module) -> list[int]:
    """How many channels the network's images may have, the likeliest first."""
    own = [p.shape[1] for p in network.parameters() if p.ndim == 4]
    own[:1] = [m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)][:1] + own[:1]
    unshuffled = [n // factor for n in own for factor in (4, 16, 64) if n % factor == 0]
    return list(dict.fromkeys([*own, *unshuffled, *OTHER_CHANNELS]))


def skeleton(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in float64 and evaluation mode; the network itself is left alone.

    Weights are not copied: each is one positive number, with which outputs are about 1 for inputs of 1, so that no
    activation is saturated. Buffers, such as fixed filters, keep their values.
    """

    def stand_in(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.detach().cpu()
        if isinstance(tensor, nn.Parameter) or tensor.is_meta:
            value = 1 / math.prod(tensor.shape[1:]) if tensor.ndim > 1 else 0.1
            return torch.full((), value, dtype=torch.float64).expand(tensor.shape)
        return tensor.detach().to("cpu", torch.float64)

    return copy_with(network, stand_in)


def copy_with(network: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of a network in evaluation mode, with other tensors."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False), *vars(module).values())
        for tensor in own:
            if isinstance(tensor, Tensor):
                made = convert(tensor)
                is_parameter = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(made, requires_grad=False) if is_parameter else made
    return copy.deepcopy(network, memo).eval()
