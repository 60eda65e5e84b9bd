"""A trained discriminator that says, patch by patch, how real an image looks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from patchlight.data.images import to_8_bits
from patchlight.errors import DataError
from patchlight.inference.global_statistics import GlobalStatistics
from patchlight.inference.pixels import Array, to_values
from patchlight.inference.tiles import AUTO_SIDE, SAMPLE_PIXELS, WHOLE_PIXELS, spread_crops, up_to
from patchlight.methods.inference import inference
from patchlight.networks import Discriminator, patch_grid, patch_map_size
from patchlight.pictures.patch_map import Scale, overlay_picture
from patchlight.pictures.sheet import to_picture

MIN_CROP = 256
"""Pixels of the squares from which the statistics of large images are taken: those of images in training, about."""

MAX_PICTURE = 2048
"""Pixels of the longer side of a heat map; those of larger images are reduced."""


class PatchScorer:
    """The patch maps of images by one discriminator, which judges as in training: with the statistics of the image.

    `sees_source` says whether it looks at the image that was translated, too. `boundary` is the logit on whose sides
    fake and real lie; None where logits mean something in comparison only.
    """

    def __init__(
        self, discriminator: Discriminator, *, sees_source: bool, boundary: float | None, device: torch.device
    ) -> None:
        self.discriminator = discriminator.to(device)
        self.grid = patch_grid(discriminator)
        self.sees_source = sees_source
        self.boundary = boundary
        self.device = device

    def __call__(self, image: Tensor, source: Tensor) -> Tensor:
        """The logits h w of an image, C H W in [-1, 1], that was translated from `source` of the same size.

        Raises:
            DataError: the image is too small for a single patch.
        """
        self.check(*image.shape[-2:])
        parts = [source, image] if self.sees_source else [image]
        return self._run(torch.cat([part.to(self.device, torch.float32) for part in parts])[None])

    def of_arrays(self, image: Array, source: Array) -> Tensor:
        """The logits h w of an image H W C, uint8 or uint16, and its source; of a large one, computed in tiles.

        The norm layers then have the statistics of crops from all over the image, as in `GlobalStatistics`.
        """
        height, width = image.shape[:2]
        self.check(height, width)
        seen = [source, image] if self.sees_source else [image]

        def read(rows: slice, columns: slice) -> Tensor:
            return torch.cat([to_values([array[rows, columns]], self.device) for array in seen], dim=1)

        if height * width <= WHOLE_PIXELS:
            return self._run(read(slice(None), slice(None)))
        logits = torch.empty(patch_map_size(self.discriminator, height, width), device=self.device)
        with GlobalStatistics(self.discriminator, own_statistics=True) as whole:
            if whole.norms:
                side = up_to(max(MIN_CROP, 2 * self.discriminator.min_size), self.grid.stride)
                crops = spread_crops(height, width, side, self.grid.stride, SAMPLE_PIXELS)
                with whole.sampled():
                    self._run(torch.cat([read(rows, columns) for rows, columns in crops]))
            for y, rows in self._tiles(height, logits.shape[0]):
                for x, columns in self._tiles(width, logits.shape[1]):
                    part = self._run(read(rows, columns))
                    inner_y, inner_x = (
                        slice(own.start - area.start // self.grid.stride, own.stop - area.start // self.grid.stride)
                        for own, area in ((y, rows), (x, columns))
                    )
                    logits[y, x] = part[inner_y, inner_x]
        return logits

    def _tiles(self, pixels: int, patches: int) -> Iterator[tuple[slice, slice]]:
        """Along a side, parts of the patch map, each with the pixels that its patches see."""
        stride, field = self.grid.stride, self.grid.field
        each = AUTO_SIDE // stride
        for first in range(0, patches, each):
            last = min(first + each, patches)
            begin = max(0, (first * stride - field) // stride * stride)
            yield slice(first, last), slice(begin, min(pixels, last * stride + 2 * field))

    def picture(self, image: Tensor, source: Tensor) -> Image.Image:
        """The heat map of an image, C H W in [-1, 1], on the image."""
        return self.draw(to_picture(image), self(image, source))

    def draw(self, image: Image.Image, logits: Tensor) -> Image.Image:
        """A patch map on its image, red where it is taken for fake and blue where for real.

        White is the boundary between the two, and the strongest patches of the image have the full colours. Pictures
        have at most `MAX_PICTURE` pixels on a side.
        """
        reduced = -(-max(image.size) // MAX_PICTURE)
        smaller = image.reduce(reduced) if reduced > 1 else image
        return overlay_picture(smaller, logits, self.grid, Scale.of([logits], self.boundary), reduced=reduced)

    def fits(self, height: int, width: int) -> bool:
        """Whether an image of that size has a patch at all."""
        return min(height, width) >= self.discriminator.min_size

    def check(self, height: int, width: int) -> None:
        """Raise a DataError if an image of that size has no patch."""
        if not self.fits(height, width):
            raise DataError(
                f"{width}x{height} pixels are too few for a patch map, which needs {self.discriminator.min_size} on "
                f"each side"
            )

    def _run(self, images: Tensor) -> Tensor:
        """The logits of the first image in B C H W."""
        with inference(self.discriminator, mode="paper"):
            logits: Tensor = self.discriminator(images)
        return logits[0, 0]


def as_picture(array: Array) -> Image.Image:
    """An image H W C of 8 or 16 bits as a Pillow image of 8 bits."""
    eight = to_8_bits(array)
    return Image.fromarray(eight[:, :, 0] if eight.shape[2] == 1 else eight)
