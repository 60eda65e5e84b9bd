"""A large image through a generator tile by tile, with the norm statistics and dropout noise of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from patchlight.data.content import Content
from patchlight.inference.pixels import Array, to_arrays, to_values, white
from patchlight.inference.tiles import SAMPLE_PIXELS, Grid, Margins, Place, margins, spread_crops
from patchlight.networks import Generator
from patchlight.system.devices import retain_allocator_memory, return_memory

MIN_CROP = 64
"""Pixels of the squares from which the statistics of an image are taken: many small ones are the best sample."""

Read = Callable[[slice, slice], Tensor]
"""Rows and columns of an image with its margins, as 1 C h w in [-1, 1] on the generator's device."""

Write = Callable[[slice, Tensor], None]
"""Takes finished rows of the result, without margins, as C h W."""


class GlobalStatistics:
    """Stands in for the layers of a network that look at a whole image, while it computes single tiles.

    Instance norm has the same statistics in every tile: those that crops from all over the image have together. With
    `own_statistics` so have norms with running statistics, such as batch norm, and dropout has the part of the image's
    noise that lies on the tile, drawn from `noise_seed` as for the image in one piece. It is a context, outside of
    which the network is as it was: first come the crops of `sample`, then each tile. Where there is dropout, `grid`
    holds all tiles, and `place` is set before each.
    """

    def __init__(
        self, network: nn.Module, grid: Grid | None = None, *, own_statistics: bool, noise_seed: int = 0
    ) -> None:
        modules = list(network.modules())
        norms = [module for module in modules if isinstance(module, _BatchNorm | _InstanceNorm)]
        # Those with running statistics use them, unless they are told otherwise.
        self.norms = [norm for norm in norms if own_statistics or norm.running_mean is None]
        dropout = [module for module in modules if isinstance(module, _DropoutNd) and module.p > 0]
        self.dropout = dropout if own_statistics else []
        self.grid = grid
        self.noise_seed = noise_seed
        self.place: Place | None = None
        self._sampling = False
        self._statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._kept: dict[nn.Module, Tensor] = {}
        self._generator: torch.Generator | None = None
        self._handles: list[Any] = []

    def __enter__(self) -> GlobalStatistics:
        self._handles = [norm.register_forward_hook(self._normalised) for norm in self.norms]
        self._handles += [layer.register_forward_hook(self._dropped) for layer in self.dropout]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def sample(self, run: Callable[[Tensor], object], read: Read, size: tuple[int, int], side: int, step: int) -> None:
        """Keep the statistics that squares from all over an image of that size have together, for the tiles.

        The squares have `side` pixels and begin at multiples of `step`.
        """
        if self.norms:
            crops = spread_crops(*size, side, step, SAMPLE_PIXELS)
            self._sampling = True
            run(torch.cat([read(rows, columns) for rows, columns in crops]))
            self._sampling = False

    def _normalised(self, norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (features,) = inputs
        if self._sampling:
            variance, mean = torch.var_mean(features.float(), dim=(0, 2, 3), correction=0)
            self._statistics[norm] = mean, variance
        mean, variance = self._statistics[norm]
        scale = (variance + norm.eps).rsqrt()
        shift = -mean * scale
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        if output.dtype == torch.float32:  # at the place of what the norm itself has computed, which can be large
            return torch.addcmul(shift[:, None, None], features, scale[:, None, None], out=output)
        return torch.addcmul(shift[:, None, None], features.float(), scale[:, None, None]).to(output.dtype)

    def _dropped(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self._sampling:
            return output
        (features,) = inputs
        assert self.grid is not None
        assert self.place is not None
        height, width = features.shape[-2:]
        rows, columns = self.place.rows, self.place.columns
        down, across = height / (rows.stop - rows.start), width / (columns.stop - columns.start)
        if layer not in self._kept:
            size = round(self.grid.rows.length * down), round(self.grid.columns.length * across)
            self._kept[layer] = self._draw(features, size, 1 - layer.p)
        top, left = round(rows.start * down), round(columns.start * across)
        kept = self._kept[layer][..., top : top + height, left : left + width]
        return torch.mul(features, kept, out=output).div_(1 - layer.p)

    def _draw(self, features: Tensor, size: tuple[int, int], share: float) -> Tensor:
        """Which features of the whole image are kept; the layers' turns are those of a pass of the image."""
        if self._generator is None:
            self._generator = torch.Generator(features.device).manual_seed(self.noise_seed)
        shape = (1, features.shape[1], *size)
        noise = torch.empty(shape, dtype=torch.bool, device=features.device)
        return noise.bernoulli_(share, generator=self._generator)


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
    reads: Content
    writes: Content
    own_statistics: bool
    noise_seed: int
    keeps_memory: bool

    def array(self, array: Array) -> Array:
        """H W C as `Translator.array_of` makes it, to an image of the output's kind of the same size.

        The result is put together as bytes, so that no more than a row of tiles is held in float32.
        """
        height, width = array.shape[:2]
        by = margins(height, width, self.generator.size_multiple, self.generator.min_size)
        padded = _pad(array, by)
        result = np.empty((height, width, self.writes.written), self.writes.written_type(array.dtype))

        def read(rows: slice, columns: slice) -> Tensor:
            return to_values([padded[rows, columns]], self.device, self.reads)

        def write(rows: slice, values: Tensor) -> None:
            source = to_values([array[rows]], self.device, self.reads)
            result[rows] = to_arrays(self.writes.to_levels(values[None], source, white(array)))[0]

        self._translate((height, width), by, read, write)
        return result

    def tensor(self, padded: Tensor, size: tuple[int, int], by: Margins) -> Tensor:
        """C H W in [-1, 1] with its margins, to its result without them, both on the same device."""
        result = padded.new_empty(self.writes.channels, *size)

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
            multiple = self.generator.size_multiple
            sides = self.grid.rows.length, self.grid.columns.length
            whole.sample(self.run, read, sides, max(MIN_CROP, 2 * multiple), multiple)
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
    """H W C with its margins, by the rules of `tiles.pad`."""
    left, right, top, bottom = by
    for axis, (before, after) in enumerate(((top, bottom), (left, right))):
        if before or after:
            widths = [(0, 0)] * 3
            widths[axis] = before, after
            array = np.pad(array, widths, mode="reflect" if after < array.shape[axis] else "edge")
    return array
