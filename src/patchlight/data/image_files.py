"""Image files, on a disk or within another file, to pictures, and what their headers say without decoding them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from patchlight.errors import DataError
from patchlight.system.image_file import open_content, open_image, refuse_damaged_jpeg

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

Picture = Image.Image | NDArray[Any]
"""A decoded image: Pillow's of any mode, or H W or H W C of uint8, uint16, or floating point in [0, 1]."""

JPEGS = ("JPEG", "MPO")

REPLACE = ": replace or remove it"

SIDEWAYS = (5, 6, 7, 8)
"""The EXIF orientations in which height and width trade places."""

HALVED_MULTIPLE = 16
"""Pixels: the middle of a width that is a multiple lies between two pixels at an eighth of the size, too."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded; `width` and `height` are those of the image turned upright.

    `mode` is Pillow's, or empty where `read` returns an array; `format` and `orientation` are those of a file.
    """

    width: int
    height: int
    channels: int
    mode: str = ""
    format: str = ""
    orientation: int = 1


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by its name alone; hidden files are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def open_picture(path: str | Path, at_least: tuple[int, int] | None = None, in_halves: bool = False) -> Image.Image:
    """An image file as it is, upright by its EXIF orientation.

    A JPEG need not be larger than the height and width of `at_least`: where they are two, four or eight times smaller,
    it is decoded at that size, by fewer coefficients of each block. That takes less time and makes other pixels than
    to decode and resize. One that is cut `in_halves` keeps its size unless its middle lies between two pixels at each.

    Raises:
        DataError: as `read_image`.
    """
    with open_image(path) as file:
        if at_least is not None and file.format == "JPEG":
            height, width = at_least
            sideways = file.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS
            if not (in_halves and (file.height if sideways else file.width) % HALVED_MULTIPLE):
                file.draft(None, (height, width) if sideways else (width, height))
        load(path, file)
        ImageOps.exif_transpose(file, in_place=True)
        return file


def decode_picture(content: bytes, called: str) -> Image.Image:
    """The content of an image file as `open_picture` has it; messages call it as it is `called`.

    Raises:
        DataError: as `read_image`.
    """
    with open_content(content, called, advice=REPLACE) as file:
        file.load()
        if file.format in JPEGS:
            refuse_damaged_jpeg(content)
        ImageOps.exif_transpose(file, in_place=True)
        return file


def load(path: str | Path, file: Image.Image) -> None:
    """Decode a file that has just been opened.

    Raises:
        ValueError: it is a JPEG whose markers show damage.
    """
    file.load()
    if file.format in JPEGS:
        refuse_damaged_jpeg(Path(path).read_bytes())


def read_header(path: Path, thorough: bool = True) -> Header:
    """The header of an image file, without its pixels.

    The orientation of some PNG files stands after the pixels. It is looked for only if the reading is `thorough`.

    Raises:
        DataError: the file is not there, has no bytes or is no image.
    """
    if os.path.isfile(path) and not os.path.getsize(path):
        raise DataError(f"{path} has no bytes: replace or remove it")
    with open_image(path) as file:
        return _header(file, thorough)


def read_stream_header(stream: IO[bytes], called: str, thorough: bool = True) -> Header:
    """The header of an image file that is open, of which little is read; see `read_header`.

    Raises:
        DataError: it has no bytes or is no image.
    """
    with open_content(stream, called, advice=REPLACE) as file:
        return _header(file, thorough)


def _header(file: Image.Image, thorough: bool) -> Header:
    early = file.format != "PNG" or "exif" in file.info or "Raw profile type exif" in file.info
    orientation = file.getexif().get(ExifTags.Base.Orientation, 1) if early or thorough else 1
    width, height = upright_size(file, orientation)
    return Header(width, height, len(file.getbands()), file.mode, file.format or "", int(orientation))


def upright_size(file: Image.Image, orientation: int) -> tuple[int, int]:
    """Width and height of a file, which has not been decoded, once it is turned upright."""
    # The size of a TIFF is that of its turned image already in some versions of Pillow, of which the tags are no part.
    size = (file.tag_v2[256], file.tag_v2[257]) if file.format == "TIFF" else file.size  # type: ignore[attr-defined]
    return (size[1], size[0]) if orientation in SIDEWAYS else (size[0], size[1])


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """H W or H W C turned and mirrored as an EXIF orientation says; values that EXIF does not define change nothing."""
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if orientation in SIDEWAYS else array
