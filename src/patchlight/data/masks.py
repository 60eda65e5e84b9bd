"""Masks of valid pixels: what losses and figures of pairs count."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from patchlight.data.content import Content
from patchlight.data.image_files import Picture, open_picture
from patchlight.data.images import Array
from patchlight.data.labels import numbers, resize_nearest
from patchlight.data.sources import Domains, Split
from patchlight.data.sources.folders import SideBySide
from patchlight.data.sources.layouts import DISK, domain_folders
from patchlight.data.transforms import Size
from patchlight.errors import DataError
from patchlight.system.image_file import one_message

VALID = "valid"
"""The key of a batch's masks."""

JPEG_SUFFIXES = (".jpg", ".jpeg")


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


def read_mask(path: Path, size: Size | None) -> Array:
    """The mask of a pair of a height and width, None for any, H W 1 of 0 and 1.

    Raises:
        DataError: it cannot be read, is no mask, or has another size.
    """
    with one_message(str(path)):
        picture = open_picture(path)
        MASK.check_header(len(picture.getbands()), picture.mode, picture.format or "")
        mask = MASK.levels(picture)
    if size is not None and mask.shape[:2] != size:
        raise DataError(
            f"{path} is {mask.shape[1]}x{mask.shape[0]} pixels, its pair {size[1]}x{size[0]}: make them equal"
        )
    return mask


def find_masks(root: Path, split: Split, domains: Domains) -> dict[str, Path]:
    """The files in `root/{split}_mask`, by the key of the image of domain A, or the file of a pair side by side, that
    has the same path below its split's folder, whatever its ending.

    Raises:
        DataError: the folder is not there, a pair has no mask or two, or a mask is a JPEG by its name.
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
        if path.suffix.lower() in JPEG_SUFFIXES:
            raise DataError(f"{path} is a JPEG, which does not keep the zeros of a mask: use PNG")
        by_name[name] = path
    images = root / split if isinstance(domains.a.source, SideBySide) else domain_folders(root, split)[0]
    found = {}
    for image in domains.a:
        name = Path(image.key).relative_to(images).with_suffix("").as_posix()
        if name not in by_name:
            raise DataError(f"{image.key} has no mask of its name in {folder}: add it, or set data.mask=false")
        found[image.key] = by_name[name]
    return found
