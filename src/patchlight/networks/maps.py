"""The maps of logits that a discriminator makes: one, or one for each scale, and where their patches lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Maps = tuple[Tensor, ...]
"""The maps of logits of a discriminator, B 1 h w, one for each scale."""


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
