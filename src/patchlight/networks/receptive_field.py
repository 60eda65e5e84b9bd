"""What a patch sees: receptive field and patch-map size, by exact arithmetic over the layers of a forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from patchlight.networks.tracing import POINTWISE, leaves, seen_by_gradient, trace

MARGIN, SIDE_MULTIPLE = 8, 64
"""Pixels around the patches that are compared with a gradient, and what the side of their image is a multiple of."""


def receptive_field(network: nn.Module) -> int:
    """The width in pixels of the square patch that one value of the output sees.

    Exact for any chain of convolutions and poolings, from the strides and kernels of the layers themselves, in the
    order in which a forward pass uses them: r <- r + (k - 1) d j, j <- j s. A network that does something else between
    its layers, such as a residual addition, is compared with a gradient. The statistics of a norm layer, which come
    from the whole image, do not count.

    Raises:
        ValueError: a layer for which this arithmetic does not hold (a dense or a transposed convolution, say), a patch
            that is not square, or a network of which it gives another patch or map than the network has.

    Source: Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks", equation 2.
    """
    return patch_grid(network).field


@dataclass(frozen=True)
class PatchGrid:
    """Where on the image the patches of a map lie, in pixels.

    Patches are squares of `field` pixels, `stride` apart; the centre of the first lies `offset` pixels from the upper
    left corner of the image, where a pixel's own centre is at 0.5.
    """

    field: int
    stride: int
    offset: float

    def centre(self, index: int) -> float:
        """The coordinate of the centre of that row or column of the map."""
        return self.offset + index * self.stride

    def patch(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of what one value sees; it may reach beyond the image, into padding."""
        x, y, half = self.centre(column), self.centre(row), self.field / 2
        return x - half, y - half, x + half, y + half


def patch_grid(network: nn.Module) -> PatchGrid:
    """Receptive field, distance and place of the patches that the values of the output see.

    Raises:
        ValueError: as `receptive_field`.
    """
    return _grid(_steps(network))


def patch_map_size(network: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Height and width of the output map for an image of that size in pixels; zeros where the map would be empty.

    Raises:
        ValueError: as `receptive_field`.
    """
    return _map_size(_steps(network), height, width)


class _Step(NamedTuple):
    """How a layer looks at neighbours."""

    kernel: int
    stride: int
    padding: int
    dilation: int


_known: WeakKeyDictionary[nn.Module, tuple[list[int], tuple[_Step, ...]]] = WeakKeyDictionary()
"""What was found of networks, with the identities of the modules that they had then."""


def _steps(network: nn.Module) -> tuple[_Step, ...]:
    """The steps of all layers that look at neighbours, in the order of the forward pass, once it has proved them right.

    Networks whose layers are no chain are compared with a gradient.
    """
    modules = [id(module) for module in network.modules()]
    if network not in _known or _known[network][0] != modules:
        _known[network] = modules, _find_steps(network)
    return _known[network][1]


def _find_steps(network: nn.Module) -> tuple[_Step, ...]:
    try:
        found = trace(network)
    except ValueError:
        for layer in leaves(network):
            _step(layer)  # a layer that is not known is a better reason
        raise
    steps = tuple(step for layer in found.layers if (step := _step(layer)) is not None)
    expected, size = _map_size(steps, *found.input_shape[2:]), found.output_shape[2:]
    if expected != size:
        raise ValueError(
            f"the receptive field of {type(network).__name__} does not follow from its layers: one after the other "
            f"they would make {expected[0]} x {expected[1]} values of {found.input_shape[2]} x {found.input_shape[3]} "
            f"px, and it makes {size[0]} x {size[1]}"
        )
    if not found.is_chain:
        _compare_with_gradient(network, found.input_shape[1], _grid(steps))
    return steps


def _compare_with_gradient(network: nn.Module, n_channels: int, grid: PatchGrid) -> None:
    """Raise a ValueError if two patches that lie next to each other are not where arithmetic has them."""
    margin = grid.stride + MARGIN
    first = math.ceil((margin + grid.field / 2 - grid.offset) / grid.stride)  # the image's border is out of its sight
    side = math.ceil((grid.centre(first + 1) + grid.field / 2 + margin) / SIDE_MULTIPLE) * SIDE_MULTIPLE
    for index in (first, first + 1):
        seen = seen_by_gradient(network, n_channels, side, index)
        expected = tuple(round(edge) for edge in grid.patch(index, index))
        if seen != expected:
            found = f"{seen[2] - seen[0]} x {seen[3] - seen[1]} px" if seen is not None else "nothing"
            raise ValueError(
                f"the receptive field of {type(network).__name__} does not follow from its layers: one after the other "
                f"they would let value {index} see {grid.field} x {grid.field} px from {expected[0]}, and it sees "
                f"{found}" + (f" from {seen[0]}" if seen is not None else "")
            )


def _grid(steps: Sequence[_Step]) -> PatchGrid:
    """Source: Araujo et al. 2019, equations 2 and 5 (with the paddings of each layer)."""
    field, jump, offset = 1, 1, 0.5
    for kernel, stride, padding, dilation in steps:
        reach = (kernel - 1) * dilation
        field += reach * jump
        offset += (reach / 2 - padding) * jump
        jump *= stride
    return PatchGrid(field, jump, offset)


def _map_size(steps: Sequence[_Step], height: int, width: int) -> tuple[int, int]:
    size = [height, width]
    for kernel, stride, padding, dilation in steps:
        size = [(side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in size]
        if min(size) < 1:
            return 0, 0
    return size[0], size[1]


def _step(layer: nn.Module) -> _Step | None:
    """What a layer looks at; None of one that looks at single values."""
    if isinstance(layer, nn.Conv2d):
        kernel, stride, dilation = (_side(v, layer) for v in (layer.kernel_size, layer.stride, layer.dilation))
        return _Step(kernel, stride, _padding(layer), dilation)
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) and not layer.ceil_mode:
        dilation = _side(layer.dilation, layer) if isinstance(layer, nn.MaxPool2d) else 1
        kernel, stride, padding = (_side(v, layer) for v in (layer.kernel_size, layer.stride, layer.padding))
        return _Step(kernel, stride, padding, dilation)
    if isinstance(layer, nn.ReflectionPad2d | nn.ReplicationPad2d | nn.ZeroPad2d):
        return _Step(1, 1, _side(layer.padding, layer), 1)
    if not isinstance(layer, POINTWISE):
        raise ValueError(f"the receptive field of a {type(layer).__name__} layer is not known: {layer}")
    return None


def _padding(layer: nn.Conv2d) -> int:
    if layer.padding == "valid":
        return 0
    if layer.padding == "same":
        total = _side(layer.dilation, layer) * (_side(layer.kernel_size, layer) - 1)
        if total % 2:
            raise ValueError("a convolution with padding='same' and an even kernel pads unevenly")
        return total // 2
    assert not isinstance(layer.padding, str)
    return _side(layer.padding, layer)


def _side(value: int | tuple[int, ...], layer: nn.Module) -> int:
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1:
        raise ValueError(f"the receptive field of {layer} is not square")
    return sides.pop()
