"""A large image through a generator, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from patchlight.data.images import to_levels
from patchlight.inference.global_statistics import GlobalStatistics
from patchlight.inference.pixels import Array, to_arrays, to_values
from patchlight.inference.tiles import SAMPLE_PIXELS, Grid, Margins, Place, margins, spread_crops
from patchlight.networks import Generator
from patchlight.system.devices import retain_allocator_memory, return_memory

MIN_CROP = 64
"""Pixels of the squares from which the statistics of an image are taken: many small ones are the best sample."""

Read = Callable[[slice, slice], Tensor]
"""Rows and columns of an image with its margins, as 1 C h w in [-1, 1] on the generator's device."""

Write = Callable[[slice, Tensor], None]
"""Takes finished rows of the result, without margins, as C h W."""


@dataclass(frozen=True)
class TiledPass:
    """A generator that is run on one tile of an image after the other.

    `run` takes B C H W in [-1, 1], whose sides the generator can take, through it in one pass; compiled networks and
    other run-times have no layers in which `GlobalStatistics` could stand in. `own_statistics` says that the generator
    normalises by the image's own statistics, `keeps_memory` that this process does not return memory otherwise.
    """

    generator: Generator
    run: Callable[[Tensor], Tensor]
    grid: Grid
    device: torch.device
    out_channels: int
    own_statistics: bool
    noise_seed: int
    keeps_memory: bool

    def array(self, array: Array) -> Array:
        """H W C of the network's channels, uint8 or uint16, to the same size and type with its output's channels.

        The result is put together as bytes, so that no more than a row of tiles is held in float32.
        """
        height, width = array.shape[:2]
        full = np.iinfo(array.dtype).max
        by = margins(height, width, self.generator.size_multiple)
        padded = _pad(array, by)
        result = np.empty((height, width, self.out_channels), array.dtype)

        def read(rows: slice, columns: slice) -> Tensor:
            return to_values([padded[rows, columns]], self.device)

        def write(rows: slice, values: Tensor) -> None:
            result[rows] = to_arrays(to_levels(values[None], full))[0]

        self._translate((height, width), by, read, write)
        return result

    def tensor(self, padded: Tensor, size: tuple[int, int], by: Margins) -> Tensor:
        """C H W in [-1, 1] with its margins, to its result without them, both on the same device."""
        result = padded.new_empty(self.out_channels, *size)

        def read(rows: slice, columns: slice) -> Tensor:
            return padded[None, :, rows, columns]

        def write(rows: slice, values: Tensor) -> None:
            result[:, rows] = values

        self._translate(size, by, read, write)
        return result

    def _translate(self, size: tuple[int, int], by: Margins, read: Read, write: Write) -> None:
        height, width = size
        left, _, top, _ = by
        whole = GlobalStatistics(
            self.generator, self.grid, own_statistics=self.own_statistics, noise_seed=self.noise_seed
        )

        def run(place: Place) -> Tensor:
            whole.place = place
            return self.run(read(place.rows, place.columns))[0]

        def finished(row: int, values: Tensor) -> None:
            first, last = max(row, top), min(row + values.shape[1], top + height)
            if first < last:
                write(slice(first - top, last - top), values[:, first - row : last - row, left : left + width])

        with whole, _large_blocks(self.keeps_memory):
            if whole.norms:
                multiple = self.generator.size_multiple
                side = max(MIN_CROP, 2 * multiple)
                crops = spread_crops(self.grid.rows.length, self.grid.columns.length, side, multiple, SAMPLE_PIXELS)
                with whole.sampled():
                    self.run(torch.cat([read(rows, columns) for rows, columns in crops]))
            self.grid.blend(run, finished, self.device)


@contextmanager
def _large_blocks(keeps_memory: bool) -> Iterator[None]:
    """No memory is kept meanwhile: the gaps between blocks as large as these would be larger than the blocks."""
    if not keeps_memory:
        yield
        return
    return_memory()
    try:
        yield
    finally:
        retain_allocator_memory()


def _pad(array: Array, by: Margins) -> Array:
    """H W C with its margins, by the rules of `padding.pad`."""
    left, right, top, bottom = by
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        if before or after:
            widths = [(0, 0)] * 3
            widths[axis] = before, after
            array = np.pad(array, widths, mode="reflect" if after < array.shape[axis] else "edge")
    return array
