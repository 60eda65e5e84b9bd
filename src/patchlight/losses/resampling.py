"""Affine maps of images in a batch, each with its own, at twice the resolution so that little is lost or aliased.

Differentiable twice, as gradient penalties need it, and without a step that waits for the device.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""The low-pass filter of the wavelet sym6 (Daubechies 1992, table 6.3): up and down again leaves an image as it is."""

HALF = len(SYM6) // 2
MARGIN = HALF - 1


def transform(images: Tensor, inverse: Tensor) -> Tensor:
    """Images, B C H W, moved by affine maps; what comes in from outside is the image mirrored at its edges.

    `inverse`, B 3 3, leads from a place of the result, in pixels from the centre (x, y, 1), to one of the image. Images
    whose map is the identity are left as they are, bit by bit. The smallest side is 3 pixels.

    Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
    """
    moved = (inverse != torch.eye(3, dtype=inverse.dtype, device=inverse.device)).flatten(1).any(dim=1)
    if images.device.type == "cpu":  # where nothing waits to know which these are
        rows = moved.nonzero().flatten()
        return images.index_copy(0, rows, _warp(images[rows], inverse[rows])) if len(rows) else images
    return torch.where(moved[:, None, None, None], _warp(images, inverse), images)


def _warp(images: Tensor, inverse: Tensor) -> Tensor:
    """The images by way of twice the resolution."""
    fine = _upsample(_upsample(images, 2), 3)
    return _downsample(_downsample(_sample(fine, inverse), 2), 3)


def _upsample(images: Tensor, dim: int) -> Tensor:
    """Twice as many values along a dimension; of a pixel (0, 1) the new ones lie at 0.25 and 0.75."""
    n = images.shape[dim]
    side = HALF // 2
    before, after = images.narrow(dim, 0, side).flip(dim), images.narrow(dim, n - side, side).flip(dim)
    fine: Tensor = _Spread.apply(torch.cat([before, images, after], dim), dim, math.sqrt(2))
    return fine.narrow(dim, 2 * side + MARGIN, 2 * n)


def _downsample(images: Tensor, dim: int) -> Tensor:
    """The inverse of `_upsample`, of an image that has `MARGIN` values more on both ends."""
    coarse: Tensor = _Combine.apply(images, dim, math.sqrt(0.5))
    return coarse


class _Combine(torch.autograd.Function):
    """`scale` times the filter at every second value: of 2 n + 10 values along a dimension n.

    A convolution of a single channel is many times slower on a CPU than these sums of slices.
    """

    @staticmethod
    def forward(ctx: Any, fine: Tensor, dim: int, scale: float) -> Tensor:
        ctx.dim, ctx.scale = dim, scale
        n = fine.shape[dim] // 2 - HALF + 1
        phases = fine.unflatten(dim, (-1, 2))  # type: ignore[no-untyped-call]
        parts = [phases.select(dim + 1, phase).contiguous() for phase in (0, 1)]
        total = torch.zeros_like(parts[0].narrow(dim, 0, n), memory_format=torch.contiguous_format)
        for place, tap in enumerate(SYM6):
            total.add_(parts[place % 2].narrow(dim, place // 2, n), alpha=scale * tap)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        of_fine: Tensor = _Spread.apply(gradients[0], ctx.dim, ctx.scale)
        return of_fine, None, None


class _Spread(torch.autograd.Function):
    """The adjoint of `_Combine`: `scale` times the filter around every value, two places apart."""

    @staticmethod
    def forward(ctx: Any, coarse: Tensor, dim: int, scale: float) -> Tensor:
        ctx.dim, ctx.scale = dim, scale
        n = coarse.shape[dim]
        shape = list(coarse.shape)
        shape[dim] = n + HALF - 1
        parts = [coarse.new_zeros(shape) for _ in (0, 1)]
        for place, tap in enumerate(SYM6):
            parts[place % 2].narrow(dim, place // 2, n).add_(coarse, alpha=scale * tap)
        return torch.stack(parts, dim + 1).flatten(dim, dim + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        of_coarse: Tensor = _Combine.apply(gradients[0], ctx.dim, ctx.scale)
        return of_coarse, None, None


def _sample(images: Tensor, inverse: Tensor) -> Tensor:
    """Bilinear samples of images at twice the resolution, with `MARGIN` more values on every side."""
    height, width = images.shape[2:]
    y, x = (
        torch.arange(-MARGIN, n + MARGIN, dtype=images.dtype, device=images.device) + (0.5 - n / 2)
        for n in (height, width)
    )
    # Places are in pixels of the images before they had twice as many.
    places = [
        inverse[:, i, 0, None, None] * x + inverse[:, i, 1, None, None] * y[:, None] + 2 * inverse[:, i, 2, None, None]
        for i in (0, 1)
    ]
    x0, x1, right = _neighbours(places[0], width)
    y0, y1, down = _neighbours(places[1], height)
    flat = images.flatten(2)

    def at(rows: Tensor, columns: Tensor) -> Tensor:
        index = (rows * width + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
        return flat.gather(2, index).view(*images.shape[:2], *rows.shape[1:])

    right, down = right[:, None], down[:, None]
    upper = at(y0, x0) * (1 - right) + at(y0, x1) * right
    lower = at(y1, x0) * (1 - right) + at(y1, x1) * right
    return upper * (1 - down) + lower * down


def _neighbours(places: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The values on both sides of places from the centre of n values, and how near the second is, from 0 to 1.

    Beyond the ends the values are mirrored.
    """
    inside = torch.remainder(places + n / 2, 2 * n)
    inside = torch.where(inside > n, 2 * n - inside, inside)
    position = (inside - 0.5).clamp(0, n - 1)
    first = position.floor()
    index = first.long()
    return index, (index + 1).clamp(max=n - 1), position - first
