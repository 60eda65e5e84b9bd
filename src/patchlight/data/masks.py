"""Masks of valid pixels: what losses and figures of pairs count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.image_files import Picture
from patchlight.data.images import Array
from patchlight.data.labels import numbers, resize_nearest
from patchlight.data.sources import ImageRef, ImageSource
from patchlight.data.transforms import Size
from patchlight.errors import DataError
from patchlight.system.image_file import one_message

VALID = "valid"
"""The key of a batch's masks."""


@dataclass(frozen=True)
class Mask(Content):
    """Gray or palette images whose zeros are pixels that do not count; all other numbers count."""

    can_be_made = False

    @property
    def channels(self) -> int:
        return 1

    def key(self, domain: str) -> str:
        return "mask=true"

    def check_header(self, channels: int, mode: str, format: str) -> None:
        if channels != 1:
            raise ValueError(f"it has {channels} channels, and a mask has 1")
        if format == "JPEG":
            raise ValueError("it is a JPEG, which does not keep zeros: use PNG")

    def levels(self, picture: Picture) -> Array:
        values = numbers(picture)
        self.check_header(values.shape[2], "", "")
        return np.asarray(values != 0, np.uint8)

    def resize(self, image: Array, size: Size) -> Array:
        return resize_nearest(image, size)

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return planes.float()


MASK = Mask()


def read_mask(image: ImageRef, size: Size | None) -> Array:
    """The mask of a pair of a height and width, None for any, H W 1 of 0 and 1.

    Raises:
        DataError: it cannot be read, is no mask, or has another size.
    """
    with one_message(image.key):
        assert isinstance(image.source, ImageSource)
        picture = image.source.read(image.index)
        assert isinstance(picture, Image.Image)
        MASK.check_header(len(picture.getbands()), picture.mode, picture.format or "")
        mask = MASK.levels(picture)
    if size is not None and mask.shape[:2] != size:
        raise DataError(unequal_mask(image.key, (mask.shape[0], mask.shape[1]), size))
    return mask


def unequal_mask(key: str, size: Size, wanted: Size) -> str:
    """What to say of a mask that is not as large as its pair."""
    return f"{key} is {size[1]}x{size[0]} pixels, its pair {wanted[1]}x{wanted[0]}: make them equal"
