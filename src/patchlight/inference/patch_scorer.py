"""A trained discriminator that says, patch by patch, how real an image looks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from patchlight.data.bands import Bands
from patchlight.data.content import Content
from patchlight.data.images import to_8_bits, to_levels
from patchlight.errors import DataError
from patchlight.inference.pixels import Array, to_values
from patchlight.inference.tiled import GlobalStatistics
from patchlight.inference.tiles import AUTO_SIDE, WHOLE_PIXELS, up_to
from patchlight.methods.inference import inference
from patchlight.networks import Discriminator, Maps, PatchGrid, as_maps
from patchlight.pictures import Scale, overlay_picture

MIN_CROP = 256
"""Pixels of the squares from which the statistics of large images are taken: those of images in training, about."""

MAX_PICTURE = 2048
"""Pixels of the longer side of a heat map; those of larger images are reduced."""


class PatchScorer:
    """The patch maps of images by one discriminator, which judges as in training: with the statistics of the image.

    A discriminator with several scales has a map for each. `sees_source` says whether it looks at the image that was
    translated, too. `boundary` is the logit on whose sides fake and real lie; None where logits mean something in
    comparison only. `image_size` is that of an image of the training, `reads` and `judges` say
    what sources and the images that are judged hold, None for colours.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        *,
        sees_source: bool,
        boundary: float | None,
        device: torch.device,
        image_size: tuple[int, int],
        reads: Content | None = None,
        judges: Content | None = None,
    ) -> None:
        self.discriminator = discriminator.to(device)
        self.sees_source = sees_source
        self.boundary = boundary
        self.device = device
        self.reads = reads
        self.judges = judges
        self.n_maps = len(self.grids(*image_size))

    def __call__(self, image: Tensor, source: Tensor) -> Maps:
        """The logits h w of an image, C H W in [-1, 1], that was translated from `source` of the same size.

        Raises:
            DataError: the image is too small for a single patch.
        """
        self.grids(*image.shape[-2:])
        parts = [source, image] if self.sees_source else [image]
        return self._run(torch.cat([part.to(self.device, torch.float32) for part in parts])[None])

    def of_arrays(self, image: Array, source: Array) -> Maps:
        """The logits h w of an image H W C, uint8 or uint16, and its source; of a large one, computed in tiles.

        The norm layers then have the statistics of crops from all over the image, as in `GlobalStatistics`. A
        discriminator whose patches depend on the size of the image sees it in one piece.
        """
        height, width = image.shape[:2]
        grids = self.grids(height, width)
        judged = image if self.judges is None else self.judges.from_file(image)
        seen = [(source, self.reads), (judged, self.judges)] if self.sees_source else [(judged, self.judges)]

        def read(rows: slice, columns: slice) -> Tensor:
            return torch.cat([to_values([a[rows, columns]], self.device, content) for a, content in seen], dim=1)

        if height * width <= WHOLE_PIXELS or not self._goes_in_tiles(grids):
            return self._run(read(slice(None), slice(None)))
        maps = tuple(torch.empty(grid.size, device=self.device) for grid in grids)
        stride = max(int(grid.stride) for grid in grids)
        with GlobalStatistics(self.discriminator, own_statistics=True) as whole:
            side = up_to(max(MIN_CROP, 2 * self.discriminator.min_size), stride)
            whole.sample(self._run, read, (height, width), side, stride)
            for top, rows in _tiles(height, grids, axis=0):
                for left, columns in _tiles(width, grids, axis=1):
                    for logits, grid, part in zip(maps, grids, self._run(read(rows, columns)), strict=True):
                        y, inner_y = _own_patches(grid, top, rows.start, grid.size[0])
                        x, inner_x = _own_patches(grid, left, columns.start, grid.size[1])
                        logits[y, x] = part[inner_y, inner_x]
        return maps

    def _goes_in_tiles(self, grids: tuple[PatchGrid, ...]) -> bool:
        """Whether the patches lie where they do in an image of another size, and begin again with every tile."""
        try:
            others = self.grids(AUTO_SIDE, AUTO_SIDE)
        except DataError:
            return False
        largest = max(grid.stride for grid in grids)
        return all(
            (grid.field, grid.stride, grid.offset) == (other.field, other.stride, other.offset)
            and largest % grid.stride == 0
            and float(largest).is_integer()
            for grid, other in zip(grids, others, strict=True)
        )

    def draw(self, image: Image.Image, maps: Maps) -> list[Image.Image]:
        """Each patch map on its image, red where it is taken for fake and blue where for real.

        White is the boundary between the two, and the strongest patches of the map have the full colours. Pictures
        have at most `MAX_PICTURE` pixels on a side.
        """
        reduced = -(-max(image.size) // MAX_PICTURE)
        smaller = image.reduce(reduced) if reduced > 1 else image
        return [
            overlay_picture(smaller, logits, grid, Scale.of([logits], self.boundary), reduced=reduced)
            for logits, grid in zip(maps, self.grids(image.height, image.width), strict=True)
        ]

    def fits(self, height: int, width: int) -> bool:
        """Whether an image of that size has a patch at all."""
        try:
            self.grids(height, width)
        except DataError:
            return False
        return True

    def grids(self, height: int, width: int) -> tuple[PatchGrid, ...]:
        """Where the patches of each map lie on an image of that size.

        Raises:
            DataError: the image is too small for a single patch, or the discriminator does not take it.
        """
        if min(height, width) < self.discriminator.min_size:
            raise DataError(
                f"{width}x{height} pixels are too few for a patch map, which needs {self.discriminator.min_size} on "
                f"each side"
            )
        try:
            return self.discriminator.patch_grids(height, width)
        except ValueError as error:
            raise DataError(f"{width}x{height} pixels have no patch map: {error}") from None

    def _run(self, images: Tensor) -> Maps:
        """The logits of the first image in B C H W."""
        with inference(self.discriminator, mode="paper"):
            return tuple(logits[0, 0] for logits in as_maps(self.discriminator(images)))


def _tiles(pixels: int, grids: tuple[PatchGrid, ...], axis: int) -> Iterator[tuple[slice, slice]]:
    """Along a side, parts of the image with the pixels that their patches see; they begin where patches do."""
    stride, field = max(int(grid.stride) for grid in grids), max(grid.field for grid in grids)
    each = AUTO_SIDE // stride * stride
    end = max(int(grid.size[axis] * grid.stride) for grid in grids)
    for start in range(0, end, each):
        begin = max(0, (start - field) // stride * stride)
        yield slice(start, min(start + each, end)), slice(begin, min(pixels, start + each + up_to(2 * field, stride)))


def _own_patches(grid: PatchGrid, tile: slice, begin: int, n_patches: int) -> tuple[slice, slice]:
    """The patches of a map that belong to a tile: their rows in the map, and in that of the pixels from `begin` on."""
    stride = int(grid.stride)
    own = slice(tile.start // stride, min(tile.stop // stride, n_patches))
    return own, slice(own.start - begin // stride, own.stop - begin // stride)


def as_picture(array: Array, content: Content | None = None) -> Image.Image:
    """An image H W C of 8 or 16 bits as a Pillow image of 8 bits: RGB, or of fewer than three channels the first.

    Of `Bands` it shows those of their `display`, in the limits of their values.
    """
    if isinstance(content, Bands):
        values = to_values([content.from_file(array)], torch.device("cpu"), content)[0]
        array = to_levels(content.drawn(values)).permute(1, 2, 0).numpy()
    eight = to_8_bits(array)
    return Image.fromarray(eight[:, :, 0] if eight.shape[2] < 3 else eight[:, :, :3])
