"""Masks of valid pixels: what losses and figures of pairs count."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.images import Array, Picture, open_picture
from patchlight.data.labels import numbers, resize_nearest
from patchlight.data.sources import Domains, Split
from patchlight.data.sources.layouts import DISK
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

    def levels(self, picture: Picture) -> Array:
        values = numbers(picture)
        self.check_header(values.shape[2], "", "")
        return np.asarray(values != 0, np.uint8)

    def resize(self, image: Array, size: Size) -> Array:
        return resize_nearest(image, size)

    def to_values(self, planes: Tensor, full: int) -> Tensor:
        return planes.float()


MASK = Mask()


def read_mask(path: Path, size: Size | None) -> Array:
    """The mask of a pair of a height and width, None for any, H W 1 of 0 and 1.

    Raises:
        DataError: it cannot be read, is no mask, or has another size.
    """
    with one_message(str(path)):
        mask = MASK.levels(open_picture(path))
    if size is not None and mask.shape[:2] != size:
        raise DataError(
            f"{path} is {mask.shape[1]}x{mask.shape[0]} pixels, its pair {size[1]}x{size[0]}: make them equal"
        )
    return mask


def find_masks(root: Path, split: Split, domains: Domains) -> dict[str, Path]:
    """The files in `root/{split}_mask`, by the key of the image of domain A that has the same name.

    Raises:
        DataError: the folder is not there, or a pair has no mask or two.
    """
    if not len(domains):
        return {}
    folder = root / f"{split}_mask"
    if not os.path.isdir(folder):
        raise DataError(f"{folder} is not there: data.mask=true looks for the masks of the {split} pairs in it")
    by_name: dict[str, Path] = {}
    for path in DISK.images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in by_name:
            raise DataError(f"{by_name[name]} and {path} have the same name, so their pair is not clear: remove one")
        by_name[name] = path
    found = {}
    for image in domains.a:
        parts = Path(image.key).with_suffix("").parts
        # Below the split's folder, which may have folders itself.
        names = ["/".join(parts[i:]) for i in range(len(parts))]
        own = next((by_name[n] for n in names if n in by_name), None)
        if own is None:
            raise DataError(f"{image.key} has no mask of its name in {folder}: add it, or set data.mask=false")
        found[image.key] = own
    return found
