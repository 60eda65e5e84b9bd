"""3x3 convolutions with a quarter of the multiplications, for training on a CPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

TILE = 4
"""Pixels a side that a tile of the output has."""

WINDOW = TILE + 2
"""Pixels a side of the input that a tile of the output sees."""

LEAST_CHANNELS, LEAST_TILES = 64, 128
"""With fewer, the transforms of the tiles, or of the filters, take longer than the multiplications that they save.

They wait for memory, which other programs use as well: a generator took 0.8 to 1.3 times as long as with the stock
convolution with 64 tiles (the blocks of one image of 128 px), 0.65 to 0.8 times with 128, and with 256 never more than
0.85 times.
"""

BAND_TILES = 256
"""Tiles that are transformed at once, or a row of them: what they become fits a cache, however large an image is."""

# F(4, 3): the transforms of a window, of the three weights of a filter, and of the products, along one side.
_INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
          [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
_FILTER = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
           [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]

_ONES = WINDOW + 1
"""The product that is added, as it is, to every pixel of a tile."""


Prepare = Callable[[Tensor], Tensor]
"""Makes the features to be convolved, by padding for example: without chance or state, and not in place."""


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1: (B, in_channels, H, W) -> (B, out_channels, H - 2 + 2 padding, ...).

    While it is trained on a CPU in float32 or float64, it takes the products of transformed tiles, 36 for 16 pixels in
    place of 144. The result is `nn.Conv2d`'s up to rounding, in float32 to about five decimals. In every other case,
    with fewer than 64 channels or 2,048 pixels in all images, and where the output's sides are not multiples of 4, it
    is `nn.Conv2d`.

    Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=padding, bias=bias)
        self._pad = padding
        self.width = min(in_channels, out_channels)

    def forward(self, input: Tensor) -> Tensor:
        if not self.transforms(input):
            return super().forward(input)
        return self.convolve(input)

    def convolve(self, input: Tensor, prepare: Prepare | None = None) -> Tensor:
        """The convolution of `prepare(input)`, by way of its tiles.

        Of the two, and of what is padded, only `input` is kept for the backward pass, which prepares it again.
        """
        if self._pad:
            prepare = partial(_pad, width=self._pad, before=prepare)
        bias = self.bias if self.bias is not None else self.weight.new_zeros(self.out_channels)
        output: Tensor = _Winograd.apply(input, self.weight, bias, prepare)
        return output

    def transforms(self, input: Tensor) -> bool:
        """Whether this input is convolved by way of its tiles."""
        height, width = (side - 2 + 2 * self._pad for side in input.shape[-2:])
        return pays(input, self.width, height, width)


def _pad(image: Tensor, width: int, before: Prepare | None) -> Tensor:
    return F.pad(before(image) if before else image, (width,) * 4)


def may_transform(images: Tensor) -> bool:
    """Whether this is a training on a CPU in full precision, in which features of any size could be transformed."""
    return (
        not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def pays(images: Tensor, channels: int, height: int, width: int) -> bool:
    """Whether it takes less time to transform what is made of these images, with features of that size."""
    # Before sizes are looked at, which an exported graph would then hold to be always so.
    return (
        may_transform(images)
        and channels >= LEAST_CHANNELS
        and height % TILE == width % TILE == 0
        and len(images) * height * width >= LEAST_TILES * TILE**2
    )


class _Winograd(torch.autograd.Function):
    """Made of operations that have derivatives themselves.

    Prepared features and transformed tiles are computed again, rather than kept.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, prepare: Prepare | None) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.prepare = prepare
        prepared = prepare(image) if prepare else image
        batch, _, height, width = prepared.shape
        size = (batch, len(weight), height - 2, width - 2)
        # A tensor of its own and not the view of one, since what follows may work in place.
        output = torch.empty(size, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)
        filters = _filters(weight)
        for seen, made in _bands(prepared.shape):
            products = _multiply(_tiles(prepared[:, :, seen]), filters, "products")
            products[_ONES] += bias
            _assemble(products, output[:, :, made])
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        image, weight = ctx.saved_tensors
        image, prepared = _prepare_again(image, ctx.prepare, ctx.needs_input_grad[0])
        filters = _filters(weight).mT if ctx.needs_input_grad[0] else None
        of_image: Tensor | None = None
        of_filters: Tensor | None = None
        of_bias: Tensor | None = None
        for seen, made in _bands(prepared.shape):
            products = _disassemble(gradients[0][:, :, made])
            if filters is not None:
                of_band = _overlap(_multiply(products, filters, "tiles"), prepared[:, :, seen].shape)
                of_image = _add_rows(of_image, of_band, seen, prepared)
            if ctx.needs_input_grad[1]:
                tiles = _tiles(prepared[:, :, seen]).mT
                if of_filters is None:
                    of_filters = _multiply(tiles, products, "sums")
                else:
                    of_filters.baddbmm_(tiles, products)
            if ctx.needs_input_grad[2]:
                of_band = products[_ONES].sum(dim=0)
                of_bias = of_band if of_bias is None else of_bias + of_band
        if of_image is not None and prepared is not image:
            twice = torch.is_grad_enabled()
            (of_image,) = torch.autograd.grad(prepared, image, of_image, create_graph=twice)
        return of_image, None if of_filters is None else _weights(of_filters), of_bias, None


def _bands(shape: torch.Size) -> list[tuple[slice, slice]]:
    """Rows of an input of this shape, and the rows of the output that are made of them, for so many tiles at once."""
    batch, _, height, width = shape
    rows, columns = height // TILE, width // TILE
    # In a backward pass that is to be differentiated all tiles have one graph.
    step = rows if torch.is_grad_enabled() else max(BAND_TILES // (batch * columns), 1)
    ends = [(TILE * top, TILE * min(top + step, rows)) for top in range(0, rows, step)]
    return [(slice(top, bottom + WINDOW - TILE), slice(top, bottom)) for top, bottom in ends]


def _add_rows(total: Tensor | None, band: Tensor, rows: slice, whole: Tensor) -> Tensor:
    """The gradients of some rows of an image beside those of earlier ones, which overlap by two rows."""
    if band.shape == whole.shape:
        return band
    if total is None:
        total = torch.zeros_like(whole, memory_format=torch.channels_last)
    total[:, :, rows] += band
    return total


def _prepare_again(image: Tensor, prepare: Prepare | None, differentiable: bool) -> tuple[Tensor, Tensor]:
    """The image and its prepared features, with a graph from one to the other."""
    if prepare is None:
        return image, image
    if not torch.is_grad_enabled():  # else the image is part of the graph whose derivative this one's is to have
        image = image.detach().requires_grad_(differentiable)
    with torch.enable_grad():
        return image, prepare(image)


def _tiles(image: Tensor) -> Tensor:
    """The windows of an image, transformed: (B, C, H, W) -> (36, tiles, C)."""
    windows = image.permute(0, 2, 3, 1).unfold(1, WINDOW, TILE).unfold(2, WINDOW, TILE)
    flat = _copy(windows.permute(4, 5, 0, 1, 2, 3), WINDOW**2)
    return _multiply(_both_sides("input", image.dtype), flat, "tiles").view(WINDOW**2, -1, image.shape[1])


def _overlap(windows: Tensor, shape: torch.Size) -> Tensor:
    """The adjoint of `_tiles`: each pixel is the sum of what the windows that see it say of it."""
    batch, channels, height, width = shape
    rows, columns = height // TILE, width // TILE
    flat = _multiply(_both_sides("input", windows.dtype).T, windows.reshape(WINDOW**2, -1), "windows")
    parts = flat.view(WINDOW, WINDOW, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    total = flat.new_zeros(batch, rows + 1, TILE, columns + 1, TILE, channels)
    # A window is a tile, and two pixels of the next.
    own, next_ = (slice(0, TILE), slice(0, -1)), (slice(TILE, None), slice(1, None))
    for inside_y, tile_y in (own, next_):
        for inside_x, tile_x in (own, next_):
            part = parts[:, :, inside_y, :, inside_x]
            total[:, tile_y, : part.shape[2], tile_x, : part.shape[4]] += part
    image = total.view(batch, (rows + 1) * TILE, (columns + 1) * TILE, channels)
    return image[:, :height, :width].permute(0, 3, 1, 2)


def _filters(weight: Tensor) -> Tensor:
    """The filters, transformed: (out, in, 3, 3) -> (36, in, out)."""
    out_channels, in_channels = weight.shape[:2]
    flat = _copy(weight.permute(2, 3, 1, 0), 9)
    return _multiply(_both_sides("filter", weight.dtype), flat, "filters").view(WINDOW**2, in_channels, out_channels)


def _weights(filters: Tensor) -> Tensor:
    """The adjoint of `_filters`."""
    _, in_channels, out_channels = filters.shape
    flat = _both_sides("filter", filters.dtype).T @ filters.reshape(WINDOW**2, -1)
    return flat.view(3, 3, in_channels, out_channels).permute(3, 2, 0, 1)


def _assemble(products: Tensor, output: Tensor) -> None:
    """Write the output of the products of all its tiles: (36, tiles, C) -> (B, C, H, W), in channels_last."""
    batch, channels, height, width = output.shape
    rows, columns = height // TILE, width // TILE
    flat = _multiply(_both_sides("output", products.dtype), products.view(WINDOW**2, -1), "windows")
    pixels = flat.view(TILE, TILE, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    output.permute(0, 2, 3, 1).view(pixels.shape).copy_(pixels)


def _disassemble(gradient: Tensor) -> Tensor:
    """The adjoint of `_assemble`."""
    batch, channels, height, width = gradient.shape
    rows, columns = height // TILE, width // TILE
    pixels = gradient.permute(0, 2, 3, 1).reshape(batch, rows, TILE, columns, TILE, channels)
    flat = _copy(pixels.permute(2, 4, 0, 1, 3, 5), TILE**2)
    return _multiply(_both_sides("output", gradient.dtype).T, flat, "products").view(WINDOW**2, -1, channels)


_buffers = threading.local()
"""Memory of intermediate results by thread, name and type: layers use the same again, while a cache has it."""


def _buffer(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory for a result that is used up before another is given its name."""
    kept: dict[str, Tensor] = vars(_buffers)
    size, key = math.prod(shape), f"{name}, {dtype}"
    if key not in kept or len(kept[key]) < size:
        kept[key] = torch.empty(size, dtype=dtype)
    return kept[key][:size].view(*shape)


def _copy(values: Tensor, rows: int) -> Tensor:
    """The values in the order of their dimensions, as a matrix of so many rows."""
    if torch.is_grad_enabled():
        return values.reshape(rows, -1)
    return _buffer("windows", values.shape, values.dtype).copy_(values).view(rows, -1)


def _multiply(a: Tensor, b: Tensor, name: str) -> Tensor:
    """The product of two matrices, or of a batch of them."""
    if torch.is_grad_enabled():  # in a backward pass that is to be differentiated, whose results are kept
        return a @ b
    return torch.matmul(a, b, out=_buffer(name, (*a.shape[:-1], b.shape[-1]), a.dtype))


@cache
def _both_sides(name: str, dtype: torch.dtype) -> Tensor:
    """A transform along both sides of a tile, as one matrix."""
    one = torch.tensor({"input": _INPUT, "filter": _FILTER, "output": _OUTPUT}[name], dtype=torch.float64)
    return torch.kron(one, one).to(dtype)
