"""Images as the bytes that a shard holds, and back."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from patchlight.data.image_files import Header, Picture, decode_picture, read_stream_header
from patchlight.errors import DataError

Format = Literal["keep", "png", "webp", "jpeg"]
"""Files as they are, or encoded anew: without loss by png, with it by the others."""

NUMPY = b"\x93NUMPY"
"""How the file of an array begins."""

PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""The modes of Pillow that a PNG file keeps; TIFF keeps the others."""


def decode(content: bytes, called: str) -> Picture:
    """An image that a shard holds: that of a file, or the array of a .npy file.

    Raises:
        DataError: it is damaged.
    """
    if content.startswith(NUMPY):
        array: Picture = np.load(io.BytesIO(content), allow_pickle=False)
        return array
    return decode_picture(content, called)


def content_header(content: bytes, called: str) -> Header:
    """The header of an image that a shard is to hold."""
    if content.startswith(NUMPY):
        return picture_header(decode(content, called))
    return read_stream_header(io.BytesIO(content), called)


def picture_header(picture: Picture) -> Header:
    """What a decoded image tells of its header."""
    if isinstance(picture, Image.Image):
        return Header(picture.width, picture.height, len(picture.getbands()), picture.mode)
    return Header(picture.shape[1], picture.shape[0], 1 if picture.ndim == 2 else picture.shape[2])


def is_equal(one: Picture, other: Picture) -> bool:
    """Whether two decoded images are the same to the bit, colours of a palette too."""
    if isinstance(one, Image.Image) != isinstance(other, Image.Image):
        return False
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        looks = [(image.mode, image.getpalette(), image.info.get("transparency")) for image in (one, other)]
        if looks[0] != looks[1]:
            return False
    a, b = np.asarray(one), np.asarray(other)
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def encode_exactly(picture: Picture, called: str) -> bytes:
    """An image from which `decode` gets the same one, to the bit.

    Raises:
        DataError: it is of a mode that no format keeps.
    """
    buffer = io.BytesIO()
    if isinstance(picture, Image.Image):
        plain = picture.copy()
        plain.info = {key: value for key, value in picture.info.items() if key == "transparency"}
        plain.save(buffer, "PNG" if picture.mode in PNG_MODES else "TIFF")
    else:
        np.save(buffer, picture, allow_pickle=False)
    content = buffer.getvalue()
    if not is_equal(decode(content, called), picture):
        mode = picture.mode if isinstance(picture, Image.Image) else picture.dtype
        raise DataError(f"{called} is of mode {mode}, which cannot be kept without loss")
    return content


def encode_as(picture: Picture, format: Literal["webp", "jpeg"], quality: int, called: str) -> bytes:
    """An image of 8 bits encoded with loss.

    Raises:
        DataError: it is no gray or RGB image of 8 bits.
    """
    if not isinstance(picture, Image.Image) or picture.mode not in ("L", "RGB"):
        mode = picture.mode if isinstance(picture, Image.Image) else f"array of {picture.dtype}"
        raise DataError(f"format={format} keeps gray and RGB images of 8 bits, and {called} is {mode}: use format=keep")
    buffer = io.BytesIO()
    plain = picture.copy()
    plain.info = {}
    plain.save(buffer, format.upper(), quality=quality)
    return buffer.getvalue()
