"""Images of any size made fit for a network: margins that are cut off again, and overlapping tiles for large ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from patchlight.errors import ConfigError, DataError

MIN_SIDE = 16
"""Pixels below which some networks' innermost maps are too small to be mirrored or to have a variance."""

Margins = tuple[int, int, int, int]
"""Pixels added left, right, top and bottom."""


def margins(height: int, width: int, multiple: int, minimum: int = MIN_SIDE) -> Margins:
    """What brings an image to sides that are multiples of `multiple`, the same on both sides or one more at the end.

    They are at least `minimum` and MIN_SIDE.
    """
    x, y = (up_to(max(side, MIN_SIDE, minimum), multiple) - side for side in (width, height))
    return x // 2, x - x // 2, y // 2, y - y // 2


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


Tile = int | Literal["auto"] | None
"""The side of a tile in pixels, or whether there are any."""

AUTO: Literal["auto"] = "auto"

WHOLE_PIXELS = 2**21
"""Pixels up to which an image goes through a network in one piece where `tile` is `auto`."""

AUTO_SIDE = 1024
SAMPLE_PIXELS = 2**20
"""Pixels that the crops have together from which the statistics of an image are taken."""

MIN_OVERLAP = 192
"""Pixels that neighbouring tiles share at least: twice as far as the residual generators see, about."""


def check_tile(tile: object) -> None:
    """Raise a ConfigError unless `tile` is a number of pixels, `auto` or None."""
    is_size = isinstance(tile, int) and not isinstance(tile, bool) and tile > 0
    if not (is_size or tile in (None, AUTO)):
        raise ConfigError(f"tile={tile} should be auto, null for none, or the side of a tile in pixels")


@dataclass(frozen=True)
class Cuts:
    """Where tiles of `tile` pixels lie along a side of `length` pixels: they begin at `starts` and cover it."""

    length: int
    tile: int
    starts: tuple[int, ...]

    @classmethod
    def even(cls, length: int, tile: int, overlap: int, multiple: int) -> Cuts:
        """Tiles at even distances, which share `overlap` pixels or more and begin at multiples of `multiple`.

        All arguments are multiples of `multiple`.
        """
        if length <= tile:
            return cls(length, length, (0,))
        last = length - tile
        n = -(-last // (tile - overlap))
        return cls(length, tile, tuple(round(last * i / n / multiple) * multiple for i in range(n + 1)))

    def weights(self, device: torch.device) -> list[Tensor]:
        """How much each pixel of each tile counts: 1 at every place in all, with ramps in the middle of overlaps.

        Where a tile overlaps another its outermost quarter counts nothing, for there it has seen least around it.
        """
        weights = [torch.ones(self.tile, device=device) for _ in self.starts]
        for i, (start, following) in enumerate(pairwise(self.starts)):
            shared = start + self.tile - following
            # From 0 to 1 over the middle half.
            places = (torch.arange(shared, device=device) + 0.5) / shared
            ramp = (2 * places - 0.5).clamp(0, 1)
            weights[i][self.tile - shared :] *= 1 - ramp
            weights[i + 1][:shared] *= ramp
        total = torch.zeros(self.length, device=device)
        for start, weight in zip(self.starts, weights, strict=True):
            total[start : start + self.tile] += weight
        # Already 1 but where three tiles meet.
        return [w / total[start : start + self.tile] for start, w in zip(self.starts, weights, strict=True)]


@dataclass(frozen=True)
class Place:
    """A tile of an image: the rows and columns that it covers."""

    rows: slice
    columns: slice


@dataclass(frozen=True)
class Grid:
    """The tiles of an image."""

    rows: Cuts
    columns: Cuts

    @classmethod
    def of(cls, height: int, width: int, tile: Tile, multiple: int) -> Grid | None:
        """The tiles for a network that takes multiples of `multiple`, which both sides are; None for one piece.

        Raises:
            DataError: tiles of this size are too small for the network.
        """
        if tile is None or (tile == AUTO and height * width <= WHOLE_PIXELS):
            return None
        overlap = up_to(MIN_OVERLAP, multiple)
        side = max(AUTO_SIDE, 2 * overlap) if tile == AUTO else tile
        side = up_to(side, multiple)
        if side < 2 * overlap:
            raise DataError(f"tile={tile} is too small for this network, which needs {2 * overlap} or more")
        if height <= side and width <= side:
            return None
        return cls(*(Cuts.even(length, side, overlap, multiple) for length in (height, width)))

    def blend(
        self, run: Callable[[Place], Tensor], finished: Callable[[int, Tensor], None], device: torch.device
    ) -> None:
        """Compute all tiles, each C h w, and hand on finished rows of the image, C n W, from the top down.

        `run` computes the tile of a place. `finished` is called with the number of the first row, and the rows.
        Nothing larger than a row of tiles is held.
        """
        row_weights, column_weights = self.rows.weights(device), self.columns.weights(device)
        ends = [*self.rows.starts[1:], self.rows.length]
        band: Tensor | None = None
        for row, top in enumerate(self.rows.starts):
            for column, left in enumerate(self.columns.starts):
                place = Place(slice(top, top + self.rows.tile), slice(left, left + self.columns.tile))
                tile = run(place)
                if band is None:
                    band = torch.zeros(tile.shape[0], self.rows.tile, self.columns.length, device=device)
                band[:, :, place.columns] += tile * (row_weights[row][:, None] * column_weights[column])
            assert band is not None
            done = ends[row] - top
            finished(top, band[:, :done])
            band = torch.cat([band[:, done:], torch.zeros_like(band[:, :done])], dim=1)


def up_to(pixels: int, multiple: int) -> int:
    """The next multiple that is not smaller."""
    return -(-pixels // multiple) * multiple


def spread_crops(height: int, width: int, side: int, multiple: int, pixels: int) -> list[tuple[slice, slice]]:
    """Evenly spread squares of an image to take statistics from: rows and columns of each.

    They begin at multiples of `multiple`, and have about `pixels` together, or cover the image.
    """
    high, wide = min(side, height), min(side, width)
    n = max(1, pixels // (high * wide))
    n_rows = max(1, min(round((n * height / width) ** 0.5), height // high))
    n_columns = max(1, min(n // n_rows, width // wide))
    tops, lefts = _spread(height - high, n_rows, multiple), _spread(width - wide, n_columns, multiple)
    return [(slice(top, top + high), slice(left, left + wide)) for top in tops for left in lefts]


def _spread(last: int, n: int, multiple: int) -> list[int]:
    """`n` numbers from 0 to `last` at even distances, the middle for one, each a multiple of `multiple`."""
    steps = [last / 2] if n == 1 else [last * i / (n - 1) for i in range(n)]
    return [int(step // multiple) * multiple for step in steps]
