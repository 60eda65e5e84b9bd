"""Samples of paired and unpaired sets, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from patchlight.data.augment import Augment
from patchlight.data.cache import Arena, ImageCache
from patchlight.data.images import Channels, read_image, to_array, to_float, to_planes
from patchlight.data.sampling import SampleKey, sample_rng
from patchlight.data.sources.folders import Domains, Source
from patchlight.data.transforms import Array, Geometry, Size, apply, resize
from patchlight.errors import DataError

Direction = Literal["AtoB", "BtoA"]

Sample = dict[str, Tensor | str]
"""`A`, `B` (C H W, 8 bits), `A_path`, `B_path`."""

Batch = dict[str, Any]
"""`A`, `B` (B C H W), and lists of `A_path`, `B_path`."""

DOMAINS = ("A", "B")


@dataclass(frozen=True)
class Processing:
    """What both kinds of set do to an image on its way in.

    `size_multiple` and `min_size`, in pixels, are what the networks ask of every side. `direction` BtoA makes the two
    domains trade places as they leave: `A` of a sample is then the files' B.
    """

    geometry: Geometry
    augment: Augment | None
    channels_a: Channels
    channels_b: Channels
    direction: Direction
    seed: int
    size_multiple: int
    min_size: int

    def sample(
        self, a: Array, b: Array, path_a: Path, path_b: Path, rng: np.random.Generator, *, paired: bool
    ) -> Sample:  # fmt: skip
        """The last steps, after resize, crop and flip: augmentation, and which domain is which."""
        if self.augment is not None and self.geometry.random:
            a, b = self.augment(np.array(a), np.array(b), rng, paired=paired)
        for array, path in ((a, path_a), (b, path_b)):
            self.check_size(_size(array), path)
        images, paths = (to_planes(a), to_planes(b)), (str(path_a), str(path_b))
        if self.direction == "BtoA":
            images, paths = images[::-1], paths[::-1]
        return {"A": images[0], "B": images[1], "A_path": paths[0], "B_path": paths[1]}

    def check_size(self, size: Size, path: Path) -> None:
        """Raise a DataError if the networks cannot take an image that has this size after preprocessing."""
        height, width = size
        if height % self.size_multiple or width % self.size_multiple:
            raise DataError(
                f"{path} is {width}x{height} pixels after data.preprocess={self.geometry.mode}, but the generator "
                f"needs sides that are multiples of {self.size_multiple}: use data.preprocess=resize_and_crop, or a "
                f"generator with fewer num_downs"
            )
        if min(height, width) < self.min_size:
            raise DataError(
                f"{path} is {width}x{height} pixels after data.preprocess={self.geometry.mode}, but the "
                f"discriminator's patch map is empty below {self.min_size} pixels: use larger images or fewer "
                f"model.discriminator.n_layers"
            )


class PairedDataset(Dataset[Sample]):
    """Pairs of images that belong together; both get the same resize, crop and flip.

    Pairs that have been read are kept in `arena`, resized, as far as it has room.
    """

    def __init__(self, domains: Domains, processing: Processing, arena: Arena | None = None) -> None:
        assert len(domains.a) == len(domains.b)
        self.domains = domains
        self.processing = processing
        channels = (processing.channels_a, processing.channels_b)
        self._cache = ImageCache(arena or Arena(0), len(domains.a), channels)

    def __len__(self) -> int:
        return len(self.domains.a)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        path_a, path_b = self.domains.a[index].path, self.domains.b[index].path
        kept = self._cache.get(index)
        images = kept or self._read(index)
        placement = p.geometry.place(_size(images[0]), rng, path_a)
        if kept is None:
            images = _keep(self._cache, index, images, placement.resize)
        a, b = (apply(placement, image) for image in images)
        return p.sample(a, b, path_a, path_b, rng, paired=True)

    def _read(self, index: int) -> list[Array]:
        a, b = self.domains.a[index], self.domains.b[index]
        images = read_pair(a, b, self.processing.channels_a, self.processing.channels_b)
        size_a, size_b = map(_size, images)
        if size_a != size_b:
            raise DataError(unequal_pair(a.path, b.path, size_a, size_b))
        return images


class UnpairedDataset(Dataset[Sample]):
    """An image of each domain, with a crop and flip of its own.

    An epoch is as long as the larger domain. Where the geometry is random, so is the B that an A meets; for evaluation
    it is the one at the same position. Images that have been read are kept in `arena`, resized, as far as it has room.
    """

    def __init__(self, domains: Domains, processing: Processing, arena: Arena | None = None) -> None:
        self.domains = domains
        self.processing = processing
        arena = arena or Arena(0)
        self._cache_a = ImageCache(arena, len(domains.a), (processing.channels_a,))
        self._cache_b = ImageCache(arena, len(domains.b), (processing.channels_b,))

    def __len__(self) -> int:
        return len(self.domains)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index_a, index_b = index % len(self.domains.a), index % len(self.domains.b)
        if p.geometry.random:
            index_b = int(rng.integers(len(self.domains.b)))
        source_a, source_b = self.domains.a[index_a], self.domains.b[index_b]
        a = self._image(source_a, p.channels_a, self._cache_a, index_a, rng)
        b = self._image(source_b, p.channels_b, self._cache_b, index_b, rng)
        return p.sample(a, b, source_a.path, source_b.path, rng, paired=False)

    def _image(
        self, source: Source, channels: Channels, cache: ImageCache, index: int, rng: np.random.Generator
    ) -> Array:  # fmt: skip
        kept = cache.get(index)
        images = kept or [read_source(source, channels)]
        placement = self.processing.geometry.place(_size(images[0]), rng, source.path)
        if kept is None:
            images = _keep(cache, index, images, placement.resize)
        return apply(placement, images[0])


def _keep(cache: ImageCache, index: int, images: Sequence[Array], size: Size) -> list[Array]:
    """Resize images, and put them into the cache if it has room."""
    resized = [resize(image, size) for image in images]
    cache.put(index, resized)
    return resized


def _size(image: Array) -> Size:
    height, width, _ = image.shape
    return height, width


def _place(key: SampleKey | int, length: int) -> SampleKey:
    """Epoch and index; a plain index is one of the first epoch."""
    place = key if isinstance(key, SampleKey) else SampleKey(0, key)
    if not 0 <= place.item < length:
        raise IndexError(f"index {place.item} is not in a set of {length} images")
    return place


def read_pair(a: Source, b: Source, channels_a: Channels, channels_b: Channels) -> list[Array]:
    """Both images of a pair, H W C; a file that holds both is read once."""
    if a.path != b.path or "whole" in (a.half, b.half):
        return [read_source(a, channels_a), read_source(b, channels_b)]
    image = read_image(a.path)
    whole = {channels: _levels(image, channels) for channels in {channels_a, channels_b}}
    return [_half(whole[channels_a], a), _half(whole[channels_b], b)]


def read_source(source: Source, channels: Channels) -> Array:
    """One image, H W C; a half of a side-by-side file is cut out."""
    if source.half == "whole":
        return to_array(read_image(source.path, channels))
    return _half(_levels(read_image(source.path), channels), source)


def _levels(image: Image.Image, channels: Channels) -> Array:
    return to_array(image.convert("L") if channels == 1 else image)


def _half(image: Array, source: Source) -> Array:
    width = image.shape[1]
    if width % 2:
        raise DataError(odd_width(source.path, width))
    return image[:, : width // 2] if source.half == "left" else image[:, width // 2 :]


def odd_width(path: Path, width: int) -> str:
    """What to say of a side-by-side file that cannot be cut in halves."""
    return (
        f"{path} is {width} pixels wide, an odd number, so it cannot hold two images side by side: cut it to an even "
        f"width, or use data.layout=folders"
    )


def unequal_pair(a: Path, b: Path, size_a: Size, size_b: Size) -> str:
    """What to say of two images that should be equally large."""
    return (
        f"{a} ({size_a[1]}x{size_a[0]}) and {b} ({size_b[1]}x{size_b[0]}) are a pair of different size: make them equal"
    )


def normalise(batch: Batch) -> Batch:
    """A batch of a loader as the step sees it: its images of 8 bits become float32 in [-1, 1].

    The trainer's batches have been through this. Who reads a loader by hand calls it for each of them. What is
    floating point already stays as it is.
    """
    images = {domain: batch[domain] for domain in DOMAINS if domain in batch}
    return batch | {d: to_float(image) for d, image in images.items() if image.dtype == torch.uint8}


def collate(samples: list[Sample]) -> Batch:
    """Samples stacked to a batch: `A`, `B` as B C H W, the paths as lists.

    Raises:
        DataError: images of different size, which cannot be stacked.
    """
    for domain in DOMAINS:
        first = samples[0]
        for other in samples[1:]:
            if _pixels(first, domain) != _pixels(other, domain):
                raise DataError(
                    f"{first[f'{domain}_path']} ({_pixels(first, domain)}) and {other[f'{domain}_path']} "
                    f"({_pixels(other, domain)}) differ in size after preprocessing, so they cannot be in one batch: "
                    f"use data.preprocess=resize_and_crop, or data.batch_size=1 and data.eval_batch_size=1"
                )
    batch: Batch = default_collate(samples)
    return batch


def _pixels(sample: Sample, domain: str) -> str:
    image = sample[domain]
    assert isinstance(image, Tensor)
    return f"{image.shape[2]}x{image.shape[1]}"
