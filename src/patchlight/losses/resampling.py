"""Affine maps of images in a batch, each with its own, at twice the resolution so that little is lost or aliased.

Differentiable twice, as gradient penalties need it, and without a step that waits for the device.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

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
    extended = torch.cat([before, images, after], dim)
    fine = conv_transpose2d(_single(extended), _filter(images, dim, math.sqrt(2)), stride=_along(dim, 2, 1))
    return fine.view(*images.shape[:2], *fine.shape[2:]).narrow(dim, 2 * side + MARGIN, 2 * n)


def _downsample(images: Tensor, dim: int) -> Tensor:
    """The inverse of `_upsample`, of an image that has `MARGIN` values more on both ends."""
    coarse = conv2d(_single(images), _filter(images, dim, math.sqrt(0.5)), stride=_along(dim, 2, 1))
    return coarse.view(*images.shape[:2], *coarse.shape[2:])


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


def _single(images: Tensor) -> Tensor:
    """Every channel as an image of its own, for one filter."""
    return images.flatten(0, 1)[:, None]


def _filter(images: Tensor, dim: int, scale: float) -> Tensor:
    return scale * _taps(images.dtype, images.device).view(1, 1, *_along(dim, len(SYM6), 1))


@cache
def _taps(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The filter's values, copied to a device once: a copy waits for it."""
    return torch.tensor(SYM6, dtype=dtype, device=device)


def _along(dim: int, value: int, other: int) -> tuple[int, int]:
    """A pair for height and width: `value` for one dimension and `other` for the other."""
    return (value, other) if dim == 2 else (other, value)
