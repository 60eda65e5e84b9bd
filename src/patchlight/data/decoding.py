"""Image files as arrays of their own values: 8 and 16 bits, floating point, NumPy files and TIFF stacks of bands."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from patchlight.data.arrays import ARRAY_SUFFIXES, MAX_BANDS, MAX_VALUES, is_array, open_array
from patchlight.data.image_files import (
    BITS_PER_SAMPLE,
    DEEP_MODES,
    IMAGE_SUFFIXES,
    REPLACE,
    Header,
    Picture,
    content_of,
    has_16_bits,
    is_image,
    load,
    open_picture,
    opened,
    read_header,
    read_stream_header,
    upright,
    upright_size,
)
from patchlight.data.transforms import Size
from patchlight.system.image_file import decode_unchanged, one_message, open_content, open_image

MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes whose values are the file's own."""

SCALED_BY = ("ppm", "ppm_plain")
"""Pillow's decoders that stretch the values of a file to 8 or 16 bits."""


@dataclass(frozen=True)
class Decoding:
    """How the files of a domain become pictures: as images of 8 bits (`open_picture`), or as `values` of their own.

    Images of 8 bits may be decoded smaller than they are, but `at_least` of this height and width, and with their
    middle between two pixels where they are cut `in_halves`. With `arrays` files of NumPy may be among them, whose
    values stay as they are.
    """

    values: bool = False
    at_least: Size | None = None
    in_halves: bool = False
    arrays: bool = False

    def read(self, file: Path | bytes, called: str | None = None) -> Picture:
        """The picture in a file, by its path or its whole content, which messages name as it is `called`.

        Raises:
            DataError: it cannot be read.
        """
        if self._as_values(file):
            return read_values(file, called)
        return open_picture(file, self.at_least, self.in_halves, called)

    def header(self, file: Path | IO[bytes], thorough: bool = True, called: str | None = None) -> Header:
        """Its size and channels, without its pixels, of a path or of content to be read and sought in; see
        `read_header`.

        Raises:
            DataError: it cannot be read.
        """
        if self._as_values(file):
            return values_header(file, called)
        return (
            read_header(file, thorough) if isinstance(file, Path) else read_stream_header(file, called or "", thorough)
        )

    def _as_values(self, file: Path | bytes | IO[bytes]) -> bool:
        return self.values or (self.arrays and is_array(file))

    def of_halves(self, other: Decoding) -> Decoding:
        """How files become pictures that hold an image of this kind beside one of another."""
        at_least = None if self.at_least is None else (self.at_least[0], 2 * self.at_least[1])
        return Decoding(self.values or other.values, at_least, in_halves=True, arrays=self.arrays)

    def takes(self, path: Path) -> bool:
        """Whether a file is taken for an image, by its name alone."""
        return is_image(path) or ((self.values or self.arrays) and is_array(path))

    @property
    def suffixes(self) -> frozenset[str]:
        """How names of files end that are taken for images."""
        return IMAGE_SUFFIXES | ARRAY_SUFFIXES if self.values or self.arrays else IMAGE_SUFFIXES


COLOURS = Decoding()
"""Images of 8 bits at their own size."""


def read_values(file: Path | bytes, called: str | None = None, advice: str = REPLACE) -> NDArray[Any]:
    """The values of an image file, by its path or its whole content, H W C, upright, of the type that the file has.

    A TIFF with several pages of one size is a stack: its channels follow one another, page by page. An .npy file, and
    an .npz with one array, holds H W or H W C. Nothing is unpickled.

    Raises:
        DataError: the file is not there, damaged, has no values of one kind, or so many that memory may not suffice.
    """
    with one_message(_name(file, called), advice):
        if is_array(file):
            with open_array(io.BytesIO(file) if isinstance(file, bytes) else file) as (stream, kind):
                array = kind.read(stream)
                return array[:, :, None] if array.ndim == 2 else array
        with opened(file, called, advice) as image:
            pages = _page_count(image)
            if pages > 1:
                return np.concatenate([_page(image, i) for i in range(pages)], axis=2)
            return _values(file, image)


def values_header(file: Path | IO[bytes], called: str | None = None) -> Header:
    """Size and number of channels of what `read_values` gives, without reading it.

    Raises:
        DataError: as `read_values`, as far as the file's head tells.
    """
    name = _name(file, called)
    with one_message(name):
        if is_array(file):
            with open_array(file) as (_, kind):
                return Header(kind.shape[1], kind.shape[0], 1 if len(kind.shape) == 2 else kind.shape[2], format="NPY")
        with open_image(file) if isinstance(file, Path) else open_content(file, name, advice=REPLACE) as image:
            pages = _page_count(image)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = upright_size(image, orientation)
            return Header(width, height, pages * len(image.getbands()), format=image.format or "")


def _name(file: object, called: str | None) -> str:
    return called or (str(file) if isinstance(file, Path) else "an image")


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


def _values(file: Path | bytes, image: Image.Image) -> NDArray[Any]:
    """The values of a file with one page."""
    deep = has_16_bits(image)
    _refuse_scaled(image)
    load(file, image)
    if deep:
        array = decode_16_bits(file, image)
        if array is None:
            raise ValueError(f"its 16 bits of {len(image.getbands())} bands cannot be decoded: use a stack or .npy")
        return array
    return values_of(image)


def _refuse_scaled(image: Image.Image) -> None:
    """PPM and PGM files say what white is, and Pillow stretches other values to 255 or 65535."""
    for tile in getattr(image, "tile", ()):
        if tile.codec_name in SCALED_BY and tile.args[-1] not in (255, 65535):
            raise ValueError(f"its white is {tile.args[-1]}, and values of PPM files are read where it is 255 or 65535")


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


def decode_16_bits(file: Path | bytes, image: Image.Image) -> NDArray[Any] | None:
    """H W or H W C of uint16 by OpenCV, upright; None for what it cannot read, or reads as another image."""
    array = decode_unchanged(content_of(file), str(image.format))
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
