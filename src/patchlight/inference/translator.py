"""A trained generator that takes images of any kind, size and aspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from patchlight.data.bands import Bands
from patchlight.data.content import Content
from patchlight.data.labels import LabelMaps
from patchlight.errors import DataError
from patchlight.inference.pixels import (
    Array,
    Pixels,
    from_array,
    from_image,
    pixels_with_values,
    to_arrays,
    to_image,
    to_values,
    white,
    with_values,
)
from patchlight.inference.tiled import TiledPass
from patchlight.inference.tiles import AUTO, Grid, Tile, cut, margins, pad
from patchlight.methods.inference import InferenceMode, condition_values, inference
from patchlight.methods.networks import GeneratorCall

Direction = Literal["AtoB", "BtoA"]
NOISE_SEED = 0
"""Seed of the dropout noise in `paper` mode, and of noise that a generator reads where no name of a file gives another:
the same for every image, so that their order does not matter."""

NOTHING: Mapping[str, Any] = {}

Kind = TypeVar("Kind", Image.Image, NDArray[Any], Tensor)


class Translator:
    """Translates images by one generator: `translator(image)` returns an image of the kind it was given.

    - A Pillow image: upright by its EXIF orientation; the result has the generator's channels, and the image's alpha.
    - An array H W or H W C, uint8 or uint16: gray, gray and alpha, RGB or RGBA, and so is the result.
      Of a generator that reads or writes 2, 4 or more channels alpha is one of them.
    - A tensor C H W or B C H W in [-1, 1], of the generator's channels; the result has its dtype and device.

    Where a domain has a depth and a range of its own (`Bands`), its images are arrays H W C of that type, or Pillow
    images with the same values, and so are results, whatever the type of the input.

    Where the generator reads label maps, an image is one of class indices, gray or of a palette, an array H W of them
    or H W 2 with the numbers of instances, and a tensor has the channels of 0 and 1.

    Images need not have sides that the network can take: they are padded by reflection and cut back. In `paper` mode,
    where batch norm and dropout tie the images of a batch together, each goes through the network alone. Large images
    are translated in tiles of `tile` pixels, see `Grid` and `GlobalStatistics`.

    What the generator reads beside an image is given by name, `translator(image, class_id=3)`: a value for all images
    or, of tensors, one for each. Noise that is not given is the same each time.

    Raises:
        ConfigError: a condition is missing, unknown or of another shape or type than the generator reads.
    """

    def __init__(
        self,
        call: GeneratorCall,
        *,
        reads: Content,
        writes: Content,
        direction: Direction,
        inference_mode: InferenceMode,
        device: torch.device,
        bf16: bool,
        tile: Tile = AUTO,
        conditions: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.call = call.to(device)
        self.generator = call.generator
        self.network: Any = self.call
        """What computes images in one piece: the generator as its method calls it, or something that stands for it."""
        self.reads = reads
        """What the images hold that the generator reads."""
        self.writes = writes
        """What the images hold that it makes."""
        self.direction = direction
        self.inference_mode = inference_mode
        self.device = device
        self.bf16 = bf16
        self.tile: Tile = tile
        self.noise_seed = NOISE_SEED
        self.conditions = dict(conditions)
        """Values of conditions that a call does not give."""
        self.keeps_memory = False
        """Whether the process keeps its memory, see `devices.retain_allocator_memory`; not while there are tiles."""
        self.layout = torch.channels_last if bf16 else torch.contiguous_format
        self.generator.to(memory_format=self.layout)

    @property
    def in_channels(self) -> int:
        """Of what the generator reads."""
        return self.reads.channels

    @property
    def out_channels(self) -> int:
        """Of what the generator makes."""
        return self.writes.channels

    @property
    def labels(self) -> LabelMaps | None:
        """What the label maps hold that the generator reads; None of images."""
        return self.reads if isinstance(self.reads, LabelMaps) else None

    @property
    def one_by_one(self) -> bool:
        """Whether the result of an image would depend on the others in its batch."""
        return self.inference_mode == "paper" and any(
            isinstance(module, _BatchNorm) or (isinstance(module, _DropoutNd) and module.p > 0)
            for module in self.generator.modules()
        )

    def __call__(self, image: Kind, **conditions: Any) -> Kind:
        bands = isinstance(self.reads, Bands)
        if isinstance(image, Image.Image):
            return to_image(self._pixels(pixels_with_values(image) if bands else from_image(image), conditions))
        if isinstance(image, np.ndarray):
            return self._pixels(with_values(image) if bands else from_array(image), conditions).array()
        return self._tensor(image, conditions)

    def _pixels(self, pixels: Pixels, given: Mapping[str, Any]) -> Pixels:
        array = self.array_of(pixels)
        return pixels.with_colour(self.translate_array(array, given), array.shape[2], self.writes)

    def array_of(self, pixels: Pixels) -> Array:
        """An image as the network takes it, H W C of 8 or 16 bits; of a label map see `Pixels.for_labels`.

        Raises:
            DataError: it is not of the kind that the network reads.
        """
        return pixels.for_content(self.reads)

    def _tensor(self, image: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] != self.in_channels or not image.is_floating_point():
            raise DataError(
                f"a tensor of shape {tuple(image.shape)} and type {image.dtype} is no image for this generator: give "
                f"C H W or B C H W with {self.in_channels} channels of floating-point values in [-1, 1]"
            )
        batch = image if image.ndim == 4 else image[None]
        result = self.translate(batch.to(self.device, torch.float32), conditions).to(image.device, image.dtype)
        return result if image.ndim == 4 else result[0]

    def translate_array(self, array: Array, conditions: Mapping[str, Any] = NOTHING, seed: int = NOISE_SEED) -> Array:
        """What `array_of` makes, to the same size and type with the channels of the network's output."""
        height, width = array.shape[:2]
        grid = self.grid(height, width)
        if grid is not None and not self._spatial:
            return self._tiled(grid, self._values(conditions, [seed], (height, width))).array(array)
        source = to_values([array], self.device, self.reads)
        result = self.translate(source, conditions, [seed])
        return to_arrays(self.writes.to_levels(result, source, white(array)))[0]

    def translate(
        self, images: Tensor, conditions: Mapping[str, Any] = NOTHING, seeds: Sequence[int] | None = None
    ) -> Tensor:
        """Float32 B C H W in [-1, 1] on the translator's device, of any size, to the same size; without gradients.

        `seeds` are those of each image's noise, where the generator reads noise that is not among the conditions.
        """
        height, width = images.shape[-2:]
        seeds = seeds or [self.noise_seed] * len(images)
        values = self._values(conditions, seeds, (height, width))
        by = margins(height, width, self.generator.size_multiple, self.generator.min_size)
        # Conditions that lie on the image go its way: padded as it is, and cut into the same tiles.
        maps = [values.pop(name).to(images) for name in self._spatial]
        padded = pad(torch.cat([images, *maps], dim=1) if maps else images, by)
        grid = self.grid(height, width)
        alone = [{name: value[i : i + 1] for name, value in values.items()} for i in range(len(images))]
        if grid is not None:
            tiled = [self._tiled(grid, own) for own in alone]
            return torch.stack([t.tensor(image, (height, width), by) for t, image in zip(tiled, padded, strict=True)])
        if not self.one_by_one:
            return cut(self.run(self.network, values, padded), by)
        parts = zip(alone, torch.split(padded, 1), strict=True)
        return cut(torch.cat([self.run(self.network, own, part) for own, part in parts]), by)

    def _values(self, given: Mapping[str, Any], seeds: Sequence[int], size: tuple[int, int]) -> dict[str, Tensor]:
        return condition_values(self.call.conditions, {**self.conditions, **given}, seeds, size)

    @property
    def _spatial(self) -> list[str]:
        """The conditions that have a value at every pixel."""
        return [name for name, condition in self.call.conditions.items() if condition.spatial]

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles in which an image of that size is translated; None for one piece.

        Raises:
            DataError: `tile` is too small for the network.
        """
        left, right, top, bottom = margins(height, width, self.generator.size_multiple, self.generator.min_size)
        return Grid.of(height + top + bottom, width + left + right, self.tile, self.generator.size_multiple)

    def in_tiles(self, height: int, width: int) -> bool:
        """Whether an image of that size is translated in tiles."""
        return self.grid(height, width) is not None

    def _tiled(self, grid: Grid, values: Mapping[str, Tensor]) -> TiledPass:
        return TiledPass(
            self.generator, partial(self.run, self.call, values), grid, self.device, self.reads, self.writes,
            own_statistics=self.inference_mode == "paper", noise_seed=self.noise_seed, keeps_memory=self.keeps_memory,
        )  # fmt: skip

    def run(self, network: Any, values: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Images whose sides the network can take, through the generator or what stands for it, in one pass.

        `images` has the spatial conditions as further channels; `values` are the others, of each image or of all.
        """
        half = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        modules = [network] if isinstance(network, nn.Module) else []
        widths = [self.in_channels, *(self.call.conditions[name].shape[0] for name in self._spatial)]
        images, *maps = torch.split(images, widths, dim=1) if len(widths) > 1 else (images,)
        given = dict(zip(self._spatial, maps, strict=True))
        given |= {name: v.to(self.device).expand(len(images), *v.shape[1:]) for name, v in values.items()}
        with inference(*modules, mode=self.inference_mode, noise_seed=self.noise_seed), half:
            ordered = [given[name] for name in self.call.conditions]
            translated: Tensor = network(images.contiguous(memory_format=self.layout), *ordered)
        return translated.float()
