"""Samples of paired and unpaired sets, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from patchlight.data.cache import Arena, ImageCache
from patchlight.data.content import Content, Levels
from patchlight.data.images import Array, to_float
from patchlight.data.labels import LabelMaps
from patchlight.data.loading import SampleKey, sample_rng
from patchlight.data.masks import MASK, VALID, read_mask
from patchlight.data.sources import Condition, Direction, Domains, ImageRef, PairSource
from patchlight.data.transforms import Augment, Geometry, Size, apply
from patchlight.errors import DataError
from patchlight.system.image_file import one_message

Sample = dict[str, Tensor | Condition]
"""`A`, `B` (C H W, 8 bits or in [-1, 1]), `A_path`, `B_path`, of a set with masks `valid` (1 H W, 0 or 1), and what
else belongs to the image that becomes `A`, by name."""

Batch = dict[str, Any]
"""`A`, `B` (B C H W), lists of `A_path`, `B_path`, and of a set with masks `valid` (B 1 H W)."""

DOMAINS = ("A", "B")


@dataclass(frozen=True)
class Processing:
    """What both kinds of set do to an image on its way in.

    `content_a` and `content_b` are what the files of the two domains hold. `size_multiple` and `min_size`, in pixels,
    are what the networks ask of every side. `direction` BtoA makes the two domains trade places as they leave: `A` of
    a sample is then the files' B.
    """

    geometry: Geometry
    augment: Augment | None
    content_a: Content
    content_b: Content
    direction: Direction
    seed: int
    size_multiple: int
    min_size: int
    masks: Mapping[str, Path] | None = None
    """Of pairs, the file of each mask of valid pixels, by the key of the image of domain A."""
    decoded_smaller: bool = False
    """Whether files may come as smaller images than they are, of which only the whole is used."""

    @property
    def contents(self) -> dict[str, Content]:
        """What `A` and `B` of a sample hold."""
        a, b = (self.content_a, self.content_b) if self.direction == "AtoB" else (self.content_b, self.content_a)
        return {"A": a, "B": b}

    def prepare(
        self,
        cache: ImageCache,
        index: int,
        read_images: Callable[[], list[Levels]],
        contents: Sequence[Content],
        key: str,
        rng: np.random.Generator,
    ) -> list[Levels]:
        """Images that belong together, from the cache or read: resized, which the cache keeps, cropped and flipped."""
        kept = _unpacked(cache.get(index), contents)
        images = kept or read_images()
        placement = self.geometry.place(_size(images[0]), rng, key)
        if kept is None:
            images = [c.resize(image, placement.resize) for c, image in zip(contents, images, strict=True)]
            cache.put(index, [_packed(image) for image in images])
        return [apply(placement, image, c.resize) for c, image in zip(contents, images, strict=True)]

    def sample(
        self, a: Levels, b: Levels, key_a: str, key_b: str, rng: np.random.Generator, *, paired: bool,
        valid: Levels | None = None,
    ) -> Sample:  # fmt: skip
        """The last steps, after resize, crop and flip: augmentation, and which domain is which."""
        if self.augment is not None and self.geometry.random:
            labels = (isinstance(self.content_a, LabelMaps), isinstance(self.content_b, LabelMaps))
            mask = None if valid is None else np.array(valid)
            a, b, *rest = self.augment(np.array(a), np.array(b), rng, paired=paired, labels=labels, valid=mask)
            valid = rest[0] if rest else None
        for array, key in ((a, key_a), (b, key_b)):
            self.check_size(_size(array), key)
        images, keys = (self.content_a.sample(a), self.content_b.sample(b)), (key_a, key_b)
        if self.direction == "BtoA":
            images, keys = images[::-1], keys[::-1]
        sample: Sample = {"A": images[0], "B": images[1], "A_path": keys[0], "B_path": keys[1]}
        return sample if valid is None else {**sample, VALID: MASK.sample(valid)}

    def conditions(self, a: ImageRef, b: ImageRef) -> Sample:
        """What else belongs to the image that becomes `A` of a batch: whole numbers, float32, and texts."""
        image = a if self.direction == "AtoB" else b
        return {name: _condition(value) for name, value in image.source.conditions(image.index).items()}

    def check_size(self, size: Size, key: str) -> None:
        """Raise a DataError if the networks cannot take an image that has this size after preprocessing."""
        height, width = size
        what = f"{key} is {width}x{height} pixels after data.preprocess={self.geometry.mode}, but the"
        if height % self.size_multiple or width % self.size_multiple:
            raise DataError(
                f"{what} generator needs sides that are multiples of {self.size_multiple}: use "
                f"data.preprocess=resize_and_crop, or a generator with fewer num_downs"
            )
        if min(height, width) < self.min_size:
            raise DataError(
                f"{what} discriminator's patch map is empty below {self.min_size} pixels: use larger images or fewer "
                f"model.discriminator.n_layers"
            )


class PairedDataset(Dataset[Sample]):
    """Pairs of images that belong together; both get the same resize, crop and flip.

    Each is there `repeat` times, with randomness of its own. Pairs that have been read are kept in `arena`, resized, as
    far as it has room.
    """

    def __init__(
        self, domains: Domains, processing: Processing, arena: Arena | None = None, repeat: int = 1
    ) -> None:  # fmt: skip
        assert len(domains.a) == len(domains.b)
        self.domains, self.repeat = domains, repeat
        self.processing = processing
        self._contents = (processing.content_a, processing.content_b, *([MASK] if processing.masks is not None else []))
        self._cache = ImageCache(arena or Arena(0), len(domains.a), [_bytes(c) for c in self._contents])

    def __len__(self) -> int:
        return len(self.domains.a) * self.repeat

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index, _ = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index %= len(self.domains.a)
        a, b = self.domains.a[index], self.domains.b[index]
        read_all = partial(self._read, a, b)
        array_a, array_b, *rest = p.prepare(self._cache, index, read_all, self._contents, a.key, rng)
        valid = rest[0] if rest else None
        return p.conditions(a, b) | p.sample(array_a, array_b, a.key, b.key, rng, paired=True, valid=valid)

    def _read(self, a: ImageRef, b: ImageRef) -> list[Levels]:
        p = self.processing
        images = read_pair(a, b, p.content_a, p.content_b, decoded_smaller=p.decoded_smaller)
        if p.masks is not None:
            images.append(read_mask(p.masks[a.key], None if p.decoded_smaller else _size(images[0])))
        return images


class UnpairedDataset(Dataset[Sample]):
    """An image of each domain, with a crop and flip of its own.

    An epoch is as long as the larger domain, `repeat` times. Where the geometry is random, so is the B that an A meets;
    for evaluation it is the one at the same position. Images that have been read are kept in `arena`, resized, as far
    as it has room.
    """

    def __init__(
        self, domains: Domains, processing: Processing, arena: Arena | None = None, repeat: int = 1
    ) -> None:  # fmt: skip
        self.domains, self.repeat = domains, repeat
        self.processing = processing
        arena = arena or Arena(0)
        self._cache_a = ImageCache(arena, len(domains.a), [_bytes(processing.content_a)])
        self._cache_b = ImageCache(arena, len(domains.b), [_bytes(processing.content_b)])

    def __len__(self) -> int:
        return len(self.domains) * self.repeat

    def __getitem__(self, key: SampleKey | int) -> Sample:
        p = self.processing
        epoch, index, images = _place(key, len(self))
        rng = sample_rng(p.seed, epoch, index)
        index %= len(self.domains)
        index_a, index_b = index % len(self.domains.a), index % len(self.domains.b)
        if images is not None:
            index_a, index_b = images
        elif p.geometry.random:
            index_b = int(rng.integers(len(self.domains.b)))
        a, b = self.domains.a[index_a], self.domains.b[index_b]
        of_a, of_b = p.content_a, p.content_b
        (array_a,) = p.prepare(self._cache_a, index_a, lambda: [read(a, of_a)], [of_a], a.key, rng)
        (array_b,) = p.prepare(self._cache_b, index_b, lambda: [read(b, of_b)], [of_b], b.key, rng)
        return p.conditions(a, b) | p.sample(array_a, array_b, a.key, b.key, rng, paired=False)


def _condition(value: Condition) -> Tensor | str:
    if isinstance(value, str):
        return value
    whole = np.asarray(value).dtype.kind in "bui"
    return torch.tensor(value, dtype=torch.int64 if whole else torch.float32)


def _bytes(content: Content) -> int:
    """How many bytes a pixel of its levels takes."""
    return content.stored * np.dtype(content.value_type).itemsize


def _packed(image: Levels) -> Array:
    """The bytes of an image of any type, H W and those of a pixel."""
    return image if image.dtype == np.uint8 else np.ascontiguousarray(image).view(np.uint8)


def _unpacked(kept: list[Array] | None, contents: Sequence[Content]) -> list[Levels] | None:
    if kept is None:
        return None
    # Where an image lies in the cache, its bytes may begin anywhere.
    return [
        image if content.value_type is np.uint8 else np.require(image.view(content.value_type), requirements="A")
        for content, image in zip(contents, kept, strict=True)
    ]


def _size(image: Levels) -> Size:
    height, width, _ = image.shape
    return height, width


def _place(key: SampleKey | int, length: int) -> SampleKey:
    """The key of a sample; a plain index is one of the first epoch."""
    place = key if isinstance(key, SampleKey) else SampleKey(0, key)
    if not 0 <= place.item < length:
        raise IndexError(f"index {place.item} is not in a set of {length} images")
    return place


def read(image: ImageRef, content: Content) -> Levels:
    """One image, H W C.

    Raises:
        DataError: it cannot be read, by its key.
    """
    with one_message(image.key):
        source, index = image.record
        picture = source.read(index)[image.side] if isinstance(source, PairSource) else source.read(index)
        return content.levels(picture)


def read_pair(
    a: ImageRef, b: ImageRef, content_a: Content, content_b: Content, *, decoded_smaller: bool = False
) -> list[Levels]:
    """Both images of a pair, H W C; a record that holds both is read once.

    Of images that may be `decoded_smaller` than they are, sizes tell nothing.

    Raises:
        DataError: one cannot be read, or they differ in size.
    """
    if isinstance(a.source, PairSource) and a.record == b.record:
        with one_message(a.key):
            picture_a, picture_b = a.source.read(a.index)
            images = [content_a.levels(picture_a), content_b.levels(picture_b)]
    else:
        images = [read(a, content_a), read(b, content_b)]
    size_a, size_b = map(_size, images)
    if size_a != size_b and not decoded_smaller:
        raise DataError(unequal_pair(a.key, b.key, size_a, size_b))
    return images


def unequal_pair(a: str, b: str, size_a: Size, size_b: Size) -> str:
    """What to say of two images that should be equally large."""
    return (
        f"{a} ({size_a[1]}x{size_a[0]}) and {b} ({size_b[1]}x{size_b[0]}) are a pair of different size: make them equal"
    )


def normalise(batch: Batch, labels: LabelMaps | None = None) -> Batch:
    """A batch of a loader as the step sees it: its images of 8 bits become float32 in [-1, 1].

    With `labels`, `A` is label maps, of which each class becomes a channel of 0 and 1. Masks become floating point. The
    trainer's batches have been through this. Who reads a loader by hand calls it for each of them. What is floating
    point already stays as it is.
    """
    if labels is not None and batch["A"].dtype == torch.uint8:
        batch = batch | {"A": labels.to_channels(batch["A"])}
    images = {domain: batch[domain] for domain in DOMAINS if domain in batch}
    mask = {VALID: batch[VALID].float()} if VALID in batch else {}
    return batch | {d: to_float(image) for d, image in images.items() if image.dtype == torch.uint8} | mask


def collate(samples: list[Sample]) -> Batch:
    """Samples stacked to a batch: `A`, `B` as B C H W, the paths as lists.

    Raises:
        DataError: images of different size, which cannot be stacked.
    """
    for domain in DOMAINS:
        first = samples[0]
        size = _pixels(first, domain)
        for other in samples[1:]:
            if _pixels(other, domain) != size:
                raise DataError(
                    f"{first[f'{domain}_path']} ({size}) and {other[f'{domain}_path']} ({_pixels(other, domain)}) "
                    f"differ in size after preprocessing, so they cannot be in one batch: use "
                    f"data.preprocess=resize_and_crop, or data.batch_size=1 and data.eval_batch_size=1"
                )
    batch: Batch = default_collate(samples)
    return batch


def _pixels(sample: Sample, domain: str) -> str:
    image = sample[domain]
    assert isinstance(image, Tensor)
    return f"{image.shape[2]}x{image.shape[1]}"
