"""What a patch sees: receptive field and patch-map size, by exact arithmetic over a network's own layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

_POINTWISE = (
    nn.LeakyReLU, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.Dropout2d,
    nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d,
)  # fmt: skip


def receptive_field(network: nn.Module) -> int:
    """The width in pixels of the square patch that one value of the output sees.

    Exact for any stack of convolutions and poolings, from the strides and kernels of the layers themselves:
    r <- r + (k - 1) d j, j <- j s. The statistics of a norm layer, which come from the whole image, do not count.

    Raises:
        ValueError: a layer for which this arithmetic does not hold (a dense or a transposed convolution, say), or
            a patch that is not square.

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

    Source: Araujo et al. 2019, equations 2 and 5 (with the paddings of each layer).
    """
    field, jump, offset = 1, 1, 0.5
    for kernel, stride, padding, dilation in _convolutions(network):
        reach = (kernel - 1) * dilation
        field += reach * jump
        offset += (reach / 2 - padding) * jump
        jump *= stride
    return PatchGrid(field, jump, offset)


def patch_map_size(network: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Height and width of the output map for an image of that size in pixels; zeros where the map would be empty.

    Raises:
        ValueError: as `receptive_field`.
    """
    size = [height, width]
    for kernel, stride, padding, dilation in _convolutions(network):
        size = [(side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for side in size]
        if min(size) < 1:
            return 0, 0
    return size[0], size[1]


def _convolutions(network: nn.Module) -> Iterator[tuple[int, int, int, int]]:
    """Kernel, stride, padding and dilation of every layer that looks at neighbours, in order."""
    layers = list(network.modules())
    inside = {
        part for layer in layers if is_parametrized(layer) for part in layer.get_submodule("parametrizations").modules()
    }
    for layer in layers:
        if layer in inside:
            continue  # the computation of a weight, such as its spectral norm
        if isinstance(layer, nn.Conv2d):
            yield (
                _side(layer.kernel_size, layer), _side(layer.stride, layer),
                _padding(layer), _side(layer.dilation, layer),
            )  # fmt: skip
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            dilation = _side(layer.dilation, layer) if isinstance(layer, nn.MaxPool2d) else 1
            yield (
                _side(layer.kernel_size, layer), _side(layer.stride, layer),
                _side(layer.padding, layer), dilation,
            )  # fmt: skip
        elif isinstance(layer, nn.ReflectionPad2d | nn.ReplicationPad2d | nn.ZeroPad2d):
            yield 1, 1, _side(layer.padding, layer), 1
        elif not isinstance(layer, _POINTWISE) and not list(layer.children()):
            raise ValueError(f"the receptive field of a {type(layer).__name__} layer is not known")


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
