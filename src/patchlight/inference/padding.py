"""Images of any size made fit for a network, and cut back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

MIN_SIDE = 16
"""Pixels below which some networks' innermost maps are too small to be mirrored or to have a variance."""

Margins = tuple[int, int, int, int]
"""Pixels added left, right, top and bottom."""


def margins(height: int, width: int, multiple: int) -> Margins:
    """What brings an image to sides that are multiples of `multiple`, the same on both sides or one more at the end."""
    missing_x, missing_y = _missing(width, multiple), _missing(height, multiple)
    return missing_x // 2, missing_x - missing_x // 2, missing_y // 2, missing_y - missing_y // 2


def _missing(side: int, multiple: int) -> int:
    wanted = max(side, MIN_SIDE)
    return -(-wanted // multiple) * multiple - side


def pad(images: Tensor, by: Margins) -> Tensor:
    """B C H W with margins that mirror the image; along a side that is too short for that, the edge is repeated."""
    left, right, top, bottom = by
    height, width = images.shape[-2:]
    if left or right:
        images = F.pad(images, (left, right, 0, 0), mode="reflect" if right < width else "replicate")
    if top or bottom:
        images = F.pad(images, (0, 0, top, bottom), mode="reflect" if bottom < height else "replicate")
    return images


def cut(images: Tensor, by: Margins) -> Tensor:
    """B C H W without those margins."""
    left, right, top, bottom = by
    height, width = images.shape[-2:]
    return images[..., top : height - bottom, left : width - right]
