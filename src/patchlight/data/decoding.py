"""Image files as arrays of their own values: 8 and 16 bits, floating point, NumPy files and TIFF stacks of bands."""

from __future__ import annotations

import errno
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from patchlight.data.image_files import (
    IMAGE_SUFFIXES,
    Header,
    Picture,
    is_image,
    load,
    open_picture,
    read_header,
    upright,
    upright_size,
)
from patchlight.data.transforms import Size
from patchlight.system.image_file import decode_unchanged, one_message, open_image

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

MAX_BANDS = 1024
"""Pages or channels of a file."""

MAX_VALUES = 2**30
"""Values of all bands of an image together; as floating point they take 4 GiB."""

BITS_PER_SAMPLE = 258

MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes whose values are the file's own."""

DEEP_MODES = ("LA", "RGB", "RGBA")
"""Modes of 8 bits in which Pillow reads what may have 16; other colours, as CMYK, are read with 8."""


@dataclass(frozen=True)
class Decoding:
    """How the files of a domain become pictures: as images of 8 bits (`open_picture`), or as `values` of their own.

    Images of 8 bits may be decoded smaller than they are, but `at_least` of this height and width, and with their
    middle between two pixels where they are cut `in_halves`.
    """

    values: bool = False
    at_least: Size | None = None
    in_halves: bool = False

    def read(self, path: Path) -> Picture:
        """The picture in a file.

        Raises:
            DataError: it cannot be read.
        """
        return read_values(path) if self.values else open_picture(path, self.at_least, self.in_halves)

    def header(self, path: Path, thorough: bool = True) -> Header:
        """Its size and channels, without its pixels; see `read_header`.

        Raises:
            DataError: it cannot be read.
        """
        return values_header(path) if self.values else read_header(path, thorough)

    def of_halves(self, other: Decoding) -> Decoding:
        """How files become pictures that hold an image of this kind beside one of another."""
        at_least = None if self.at_least is None else (self.at_least[0], 2 * self.at_least[1])
        return Decoding(self.values or other.values, at_least, in_halves=True)

    def takes(self, path: Path) -> bool:
        """Whether a file is taken for an image, by its name alone."""
        return is_image(path) or (self.values and is_array(path))

    @property
    def suffixes(self) -> frozenset[str]:
        """How names of files end that are taken for images."""
        return IMAGE_SUFFIXES | ARRAY_SUFFIXES if self.values else IMAGE_SUFFIXES


COLOURS = Decoding()
"""Images of 8 bits at their own size."""


def is_array(path: Path) -> bool:
    """Whether a file is taken for one of NumPy, by its name alone; hidden files are not."""
    return path.suffix.lower() in ARRAY_SUFFIXES and not path.name.startswith(".")


def read_values(path: Path, called: str | None = None, advice: str = ": replace or remove it") -> NDArray[Any]:
    """The values of an image file, H W C, upright, of the type that the file has.

    A TIFF with several pages of one size is a stack: its channels follow one another, page by page. An .npy file, and
    an .npz with one array, holds H W or H W C. Nothing is unpickled.

    Raises:
        DataError: the file is not there, damaged, has no values of one kind, or so many that memory may not suffice.
    """
    with one_message(called or str(path), advice):
        if is_array(path):
            with _array_file(path) as (file, kind):
                array = kind.read(file)
                return array[:, :, None] if array.ndim == 2 else array
        with open_image(path, called, advice) as image:
            pages = _page_count(image)
            if pages > 1:
                return np.concatenate([_page(image, i) for i in range(pages)], axis=2)
            return _values(path, image)


def values_header(path: Path) -> Header:
    """Size and number of channels of what `read_values` gives, without reading it.

    Raises:
        DataError: as `read_values`, as far as the file's head tells.
    """
    with one_message(str(path)):
        if is_array(path):
            with _array_file(path) as (_, kind):
                return Header(kind.shape[1], kind.shape[0], 1 if len(kind.shape) == 2 else kind.shape[2], format="NPY")
        with open_image(path) as image:
            pages = _page_count(image)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = upright_size(image, orientation)
            return Header(width, height, pages * len(image.getbands()), format=image.format or "")


def _page_count(image: Image.Image) -> int:
    pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    if pages > MAX_BANDS or pages * image.width * image.height * len(image.getbands()) > MAX_VALUES:
        raise Image.DecompressionBombError(f"{pages} pages of {image.width}x{image.height} pixels")
    return pages


def _page(image: Image.Image, number: int) -> NDArray[Any]:
    """A page of a stack, H W C, which has the size of the first."""
    size = image.size
    image.seek(number)
    if image.size != size:
        raise ValueError(f"its page {number + 1} is {image.width}x{image.height}, the first {size[0]}x{size[1]} pixels")
    bits = image.tag_v2.get(BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
    if image.mode in DEEP_MODES and 16 in (bits if isinstance(bits, tuple) else (bits,)):
        raise ValueError(
            f"its page {number + 1} has several bands of 16 bits: write each as a page of its own, or use .npy"
        )
    return _own_values(image)


def _values(path: Path, image: Image.Image) -> NDArray[Any]:
    """The values of a file with one page."""
    load(path, image)
    if image.mode in DEEP_MODES and has_16_bits(path, image):
        array = decode_16_bits(path, image)
        if array is None:
            raise ValueError(f"its 16 bits of {len(image.getbands())} bands cannot be decoded: use a stack or .npy")
        return array
    return values_of(image)


def values_of(image: Image.Image) -> NDArray[Any]:
    """The values of a Pillow image, H W C, upright.

    Raises:
        ValueError: its mode has none.
    """
    values = _own_values(image)  # first: Pillow turns a TIFF by itself when it decodes it
    return upright(values, image.getexif().get(ExifTags.Base.Orientation, 1))


def _own_values(image: Image.Image) -> NDArray[Any]:
    if image.mode not in MODES:
        raise ValueError(f"it is {image.mode}, whose numbers are no values of bands: use gray, RGB or RGBA")
    array: NDArray[Any] = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def has_16_bits(path: Path, image: Image.Image) -> bool:
    """Whether a file has more bits than the mode says in which Pillow would read it."""
    if image.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(25)[24:] == b"\x10"
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    return False


def decode_16_bits(path: Path, image: Image.Image) -> NDArray[Any] | None:
    """H W or H W C of uint16 by OpenCV, upright; None for what it cannot read, or reads as another image."""
    array = decode_unchanged(path.read_bytes(), str(image.format))
    if array is None or array.dtype != np.uint16:
        return None
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # OpenCV turns a TIFF by itself.
    array = upright(swapped(array), orientation if image.format == "PNG" else 1)
    return array if sorted(array.shape[:2]) == sorted(image.size) else None


def swapped(array: NDArray[Any]) -> NDArray[Any]:
    """OpenCV's BGR to RGB, and back."""
    if array.ndim == 2:
        return array
    return array[:, :, [2, 1, 0, *range(3, array.shape[2])]]


@dataclass(frozen=True)
class ArrayKind:
    """What the head of an .npy file says of its values.

    Raises:
        DataError: Python objects, which are never unpickled, or more values than memory may have room for.
        ValueError: they are no numbers, or no image.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        shape, limit = self.shape, Image.MAX_IMAGE_PIXELS
        if self.dtype.hasobject:
            raise ValueError("it holds Python objects, which are never unpickled: save numbers")
        if self.dtype.kind not in "uif":
            raise ValueError(f"its values are {self.dtype}: they should be integers or floating point")
        if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] > MAX_BANDS):
            raise ValueError(
                f"an array of shape {shape} is no image: it should be H W or H W C, of at most {MAX_BANDS} channels"
            )
        if math.prod(shape) > MAX_VALUES or (limit is not None and shape[0] * shape[1] > limit):
            raise Image.DecompressionBombError(f"an array of shape {shape}")

    def read(self, file: IO[bytes]) -> NDArray[Any]:
        """The values that follow the head."""
        size = math.prod(self.shape) * self.dtype.itemsize
        content = file.read(size)
        if len(content) < size:
            raise ValueError("the file ends before its values do")
        return np.ndarray(self.shape, self.dtype, content, order="F" if self.fortran else "C")


@contextmanager
def _array_file(path: Path) -> Iterator[tuple[IO[bytes], ArrayKind]]:
    """An open .npy file, or the one in an .npz, at its first value, and what its head says."""
    if not path.is_file():  # opening a pipe would wait for ever
        raise OSError("it is no regular file" if path.exists() else os.strerror(errno.ENOENT))
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            yield file, _array_kind(file)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1 or not members[0].filename.endswith(".npy"):
            raise ValueError(f"it holds {len(members)} files: an .npz should hold one array")
        with archive.open(members[0]) as file:
            yield file, _array_kind(file)


def _array_kind(file: IO[bytes]) -> ArrayKind:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return ArrayKind(*read(file))
