"""Image files, on a disk or within another file, to pictures, and what their headers say without decoding them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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

DEEP_MODES = ("LA", "RGB", "RGBA")
"""Modes of 8 bits in which Pillow reads what may have 16; other colours, as CMYK, are read with 8."""

NARROWED = "16 bits read as 8"
"""A key of `info` of a Pillow image whose file has 16 bits for each of its 8."""

BITS_PER_SAMPLE = 258

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


@contextmanager
def opened(file: str | Path | bytes, called: str | None = None, advice: str = REPLACE) -> Iterator[Image.Image]:
    """An image file by its path, or its whole content, to be decoded within the context; messages name it as `called`.

    Raises:
        DataError: as `patchlight.system.image_file.open_image`.
    """
    with (
        open_content(file, called or "an image", advice=advice)
        if isinstance(file, bytes)
        else open_image(file, called, advice)
    ) as image:
        yield image


def open_picture(
    file: str | Path | bytes,
    at_least: tuple[int, int] | None = None,
    in_halves: bool = False,
    called: str | None = None,
) -> Image.Image:
    """An image file as it is, by its path or its whole content, upright by its EXIF orientation.

    Of several channels of 16 bits it has the upper 8, and then NARROWED is in its `info`.

    A JPEG need not be larger than the height and width of `at_least`: where they are two, four or eight times smaller,
    it is decoded at that size, by fewer coefficients of each block. That takes less time and makes other pixels than
    to decode and resize. One that is cut `in_halves` keeps its size unless its middle lies between two pixels at each.

    Raises:
        DataError: as `read_image`.
    """
    with opened(file, called) as image:
        if at_least is not None and image.format == "JPEG":
            height, width = at_least
            sideways = image.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS
            if not (in_halves and (image.height if sideways else image.width) % HALVED_MULTIPLE):
                image.draft(None, (height, width) if sideways else (width, height))
        narrowed = has_16_bits(image)
        load(file, image)
        ImageOps.exif_transpose(image, in_place=True)
        if narrowed:
            image.info[NARROWED] = True
        return image


def load(file: str | Path | bytes, image: Image.Image) -> None:
    """Decode a file that has just been opened.

    Raises:
        ValueError: it is a JPEG whose markers show damage.
    """
    image.load()
    if image.format in JPEGS:
        refuse_damaged_jpeg(content_of(file))


def content_of(file: str | Path | bytes) -> bytes:
    """All bytes of a file."""
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def has_16_bits(image: Image.Image) -> bool:
    """Whether a file that is open and not decoded yet has 16 bits of each channel, of which Pillow will read 8."""
    if image.mode not in DEEP_MODES:
        return False
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else ""
    if image.format == "PPM":  # the last one is the level of white
        return isinstance(arguments, tuple) and isinstance(arguments[-1], int) and arguments[-1] > 255
    return isinstance(arguments, str) and arguments.endswith(";16B")  # of PNG


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
