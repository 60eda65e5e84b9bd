"""From images of a source to samples: reading pairs, geometry and memory, augmentation, and what networks ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from patchlight.data.batches import Sample
from patchlight.data.cache import ImageCache
from patchlight.data.content import Content, Levels
from patchlight.data.images import Array
from patchlight.data.labels import LabelMaps
from patchlight.data.masks import MASK, VALID
from patchlight.data.sources import Condition, Direction, ImageRef, PairSource
from patchlight.data.transforms import Augment, Geometry, Size, apply
from patchlight.errors import DataError
from patchlight.system.image_file import one_message


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
        placement = self.geometry.place(size_of(images[0]), rng, key)
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
            self.check_size(size_of(array), key)
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


def _condition(value: Condition) -> Tensor | str:
    if isinstance(value, str):
        return value
    whole = np.asarray(value).dtype.kind in "bui"
    return torch.tensor(value, dtype=torch.int64 if whole else torch.float32)


def bytes_per_pixel(content: Content) -> int:
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


def size_of(image: Levels) -> Size:
    """Height and width, in pixels."""
    height, width, _ = image.shape
    return height, width


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
    size_a, size_b = map(size_of, images)
    if size_a != size_b and not decoded_smaller:
        raise DataError(unequal_pair(a.key, b.key, size_a, size_b))
    return images


def unequal_pair(a: str, b: str, size_a: Size, size_b: Size) -> str:
    """What to say of two images that should be equally large."""
    return (
        f"{a} ({size_a[1]}x{size_a[0]}) and {b} ({size_b[1]}x{size_b[0]}) are a pair of different size: make them equal"
    )
