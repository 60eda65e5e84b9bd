"""The images that a network takes and the maps that it makes of them, by forward passes without data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from patchlight.networks.maps import as_maps
from patchlight.networks.tracing import copy_with, skeleton

OTHER_CHANNELS = (3, 6, 1, 4, 2)
"""Channels of images that are tried after those of the network's own convolutions."""


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
