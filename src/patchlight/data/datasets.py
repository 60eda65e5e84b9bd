"""Samples of paired and unpaired sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from patchlight.data.augment import Augment
from patchlight.data.folders import Domains, Source
from patchlight.data.image_io import Channels, read_image, to_array, to_tensor
from patchlight.data.sampling import SampleKey, sample_rng
from patchlight.data.transforms import Geometry, apply
from patchlight.errors import DataError

Direction = Literal["AtoB", "BtoA"]
Sample = dict[str, Tensor | str]


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

    def sample(self, a: NDArray[np.uint8], b: NDArray[np.uint8], path_a: Path, path_b: Path) -> Sample:
        for array, path in ((a, path_a), (b, path_b)):
            self._check_size(array, path)
        images, paths = (to_tensor(a), to_tensor(b)), (str(path_a), str(path_b))
        if self.direction == "BtoA":
            images, paths = images[::-1], paths[::-1]
        return {"A": images[0], "B": images[1], "A_path": paths[0], "B_path": paths[1]}

    def _check_size(self, array: NDArray[np.uint8], path: Path) -> None:
        height, width = array.shape[:2]
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
    """Pairs of images that belong together; both get the same resize, crop and flip."""

    def __init__(self, domains: Domains, processing: Processing) -> None:
        assert len(domains.a) == len(domains.b)
        self.domains = domains
        self.processing = processing

    def __len__(self) -> int:
        return len(self.domains.a)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        source_a, source_b = self.domains.a[index], self.domains.b[index]
        image_a, image_b = read_pair(source_a, source_b, p.channels_a, p.channels_b)
        if image_a.size != image_b.size:
            raise DataError(
                f"{source_a.path} ({image_a.width}x{image_a.height}) and {source_b.path} "
                f"({image_b.width}x{image_b.height}) are a pair of different size: make them equal"
            )
        placement = p.geometry.place((image_a.height, image_a.width), rng, source_a.path)
        a, b = to_array(apply(placement, image_a)), to_array(apply(placement, image_b))
        if p.augment is not None and p.geometry.random:
            a, b = p.augment(a, b, rng, paired=True)
        return p.sample(a, b, source_a.path, source_b.path)


class UnpairedDataset(Dataset[Sample]):
    """An image of each domain, with a crop and flip of its own.

    An epoch is as long as the larger domain. Where the geometry is random, so is the B that an A meets; for evaluation
    it is the one at the same position.
    """

    def __init__(self, domains: Domains, processing: Processing) -> None:
        self.domains = domains
        self.processing = processing

    def __len__(self) -> int:
        return len(self.domains)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index_b = int(rng.integers(len(self.domains.b))) if p.geometry.random else index % len(self.domains.b)
        source_a, source_b = self.domains.a[index % len(self.domains.a)], self.domains.b[index_b]
        arrays = []
        for source, channels in ((source_a, p.channels_a), (source_b, p.channels_b)):
            image = read_source(source, channels)
            arrays.append(to_array(apply(p.geometry.place((image.height, image.width), rng, source.path), image)))
        a, b = arrays
        if p.augment is not None and p.geometry.random:
            a, b = p.augment(a, b, rng, paired=False)
        return p.sample(a, b, source_a.path, source_b.path)


def _place(key: SampleKey | int, length: int) -> SampleKey:
    """Epoch and index; a plain index is one of the first epoch."""
    place = key if isinstance(key, SampleKey) else SampleKey(0, key)
    if not 0 <= place.item < length:
        raise IndexError(f"index {place.item} is not in a set of {length} images")
    return place


def collate(samples: list[Sample]) -> dict[str, Any]:
    """Samples stacked to a batch: `A`, `B` as B C H W, the paths as lists.

    Raises:
        DataError: images of different size, which cannot be stacked.
    """
    for domain in ("A", "B"):
        first = samples[0]
        for other in samples[1:]:
            if _pixels(first, domain) != _pixels(other, domain):
                raise DataError(
                    f"{first[f'{domain}_path']} ({_pixels(first, domain)}) and {other[f'{domain}_path']} "
                    f"({_pixels(other, domain)}) differ in size after preprocessing, so they cannot be in one batch: "
                    f"use data.preprocess=resize_and_crop, or data.batch_size=1 and data.eval_batch_size=1"
                )
    batch: dict[str, Any] = default_collate(samples)
    return batch


def _pixels(sample: Sample, domain: str) -> str:
    image = sample[domain]
    assert isinstance(image, Tensor)
    return f"{image.shape[2]}x{image.shape[1]}"


def read_pair(a: Source, b: Source, channels_a: Channels, channels_b: Channels) -> tuple[Image.Image, Image.Image]:
    """Both images of a pair; a file that holds both is read once."""
    if a.path != b.path or "whole" in (a.half, b.half):
        return read_source(a, channels_a), read_source(b, channels_b)
    image = read_image(a.path)
    return _half(image, a, channels_a), _half(image, b, channels_b)


def read_source(source: Source, channels: Channels) -> Image.Image:
    """One image; a half of a side-by-side file is cut out."""
    if source.half == "whole":
        return read_image(source.path, channels)
    return _half(read_image(source.path), source, channels)


def _half(image: Image.Image, source: Source, channels: Channels) -> Image.Image:
    if image.width % 2:
        raise DataError(
            f"{source.path} is {image.width} pixels wide, an odd number, so it cannot hold two images side by side: "
            f"cut it to an even width, or use data.layout=folders"
        )
    middle = image.width // 2
    left = 0 if source.half == "left" else middle
    half = image.crop((left, 0, left + middle, image.height))
    return half.convert("L") if channels == 1 else half
