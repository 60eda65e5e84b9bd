"""A trained generator that takes images of any kind, size and aspect."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from patchlight.data.images import to_levels
from patchlight.errors import DataError
from patchlight.inference.padding import cut, margins, pad
from patchlight.inference.pixels import Array, Pixels, from_array, from_image, to_arrays, to_image, to_values
from patchlight.inference.tiled import TiledPass
from patchlight.inference.tiles import AUTO, Grid, Tile
from patchlight.methods.inference import InferenceMode, inference
from patchlight.networks import Generator

Direction = Literal["AtoB", "BtoA"]
NOISE_SEED = 0
"""Seed of the dropout noise in `paper` mode: the same for every image, so that their order does not matter."""

Kind = TypeVar("Kind", Image.Image, NDArray[Any], Tensor)


class Translator:
    """Translates images by one generator: `translator(image)` returns an image of the kind it was given.

    - A Pillow image: upright by its EXIF orientation; the result has the generator's channels, and the image's alpha.
    - An array H W or H W C, uint8 or uint16: gray, gray and alpha, RGB or RGBA, and so is the result.
      Of a generator that reads or writes 2, 4 or more channels alpha is one of them.
    - A tensor C H W or B C H W in [-1, 1], of the generator's channels; the result has its dtype and device.

    Images need not have sides that the network can take: they are padded by reflection and cut back. In `paper` mode,
    where batch norm and dropout tie the images of a batch together, each goes through the network alone. Large images
    are translated in tiles of `tile` pixels, see `Grid` and `GlobalStatistics`.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        in_channels: int,
        out_channels: int,
        direction: Direction,
        inference_mode: InferenceMode,
        device: torch.device,
        bf16: bool,
        tile: Tile = AUTO,
    ) -> None:
        self.generator = generator.to(device)
        self.network: Any = self.generator
        """What computes images in one piece: the generator, or something that stands for it."""
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.direction = direction
        self.inference_mode = inference_mode
        self.device = device
        self.bf16 = bf16
        self.tile: Tile = tile
        self.noise_seed = NOISE_SEED
        self.keeps_memory = False
        """Whether the process keeps its memory, see `devices.retain_allocator_memory`; not while there are tiles."""
        self.layout = torch.channels_last if bf16 else torch.contiguous_format
        self.generator.to(memory_format=self.layout)

    @property
    def one_by_one(self) -> bool:
        """Whether the result of an image would depend on the others in its batch."""
        return self.inference_mode == "paper" and any(
            isinstance(module, _BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0)
            for module in self.generator.modules()
        )

    def __call__(self, image: Kind) -> Kind:
        if isinstance(image, Image.Image):
            return to_image(self._pixels(from_image(image)))
        if isinstance(image, np.ndarray):
            return self._pixels(from_array(image)).array()
        return self._tensor(image)

    def _pixels(self, pixels: Pixels) -> Pixels:
        result = self.translate_array(pixels.for_network(self.in_channels))
        return pixels.with_colour(result, self.in_channels)

    def _tensor(self, image: Tensor) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] != self.in_channels or not image.is_floating_point():
            raise DataError(
                f"a tensor of shape {tuple(image.shape)} and type {image.dtype} is no image for this generator: give "
                f"C H W or B C H W with {self.in_channels} channels of floating-point values in [-1, 1]"
            )
        batch = image if image.ndim == 4 else image[None]
        result = self.translate(batch.to(self.device, torch.float32)).to(image.device, image.dtype)
        return result if image.ndim == 4 else result[0]

    def translate_array(self, array: Array) -> Array:
        """H W C of the network's channels, uint8 or uint16, to the same size and type with its output's channels."""
        grid = self.grid(*array.shape[:2])
        if grid is not None:
            return self._tiled(grid).array(array)
        values = self.translate(to_values([array], self.device))
        return to_arrays(to_levels(values, np.iinfo(array.dtype).max))[0]

    def translate(self, images: Tensor) -> Tensor:
        """Float32 B C H W in [-1, 1] on the translator's device, of any size, to the same size; without gradients."""
        height, width = images.shape[-2:]
        by = margins(height, width, self.generator.size_multiple)
        padded = pad(images, by)
        grid = self.grid(height, width)
        if grid is not None:
            tiled = self._tiled(grid)
            return torch.stack([tiled.tensor(image, (height, width), by) for image in padded])
        parts = torch.split(padded, 1) if self.one_by_one else (padded,)
        return cut(torch.cat([self.run(self.network, part) for part in parts]), by)

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles in which an image of that size is translated; None for one piece.

        Raises:
            DataError: `tile` is too small for the network.
        """
        left, right, top, bottom = margins(height, width, self.generator.size_multiple)
        return Grid.of(height + top + bottom, width + left + right, self.tile, self.generator.size_multiple)

    def in_tiles(self, height: int, width: int) -> bool:
        """Whether an image of that size is translated in tiles."""
        return self.grid(height, width) is not None

    def _tiled(self, grid: Grid) -> TiledPass:
        return TiledPass(
            self.generator, partial(self.run, self.generator), grid, self.device, self.out_channels,
            own_statistics=self.inference_mode == "paper", noise_seed=self.noise_seed, keeps_memory=self.keeps_memory,
        )  # fmt: skip

    def run(self, network: Any, images: Tensor) -> Tensor:
        """Images whose sides the network can take, through the generator or what stands for it, in one pass."""
        half = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        modules = [network] if isinstance(network, nn.Module) else []
        with inference(*modules, mode=self.inference_mode, noise_seed=self.noise_seed), half:
            translated: Tensor = network(images.contiguous(memory_format=self.layout))
        return translated.float()
