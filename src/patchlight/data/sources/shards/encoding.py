"""Images as the bytes that a shard holds, and back."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from patchlight.data.decoding import Decoding, read_values, swapped
from patchlight.data.image_files import NARROWED, Header, Picture
from patchlight.data.sources.encoded import halves
from patchlight.errors import DataError

Format = Literal["keep", "png", "webp", "jpeg"]
"""Files as they are, or encoded anew: without loss by png, with it by the others."""

ANY = Decoding(arrays=True)
"""As pictures of 8 bits, or as the arrays that they are."""

PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""The modes of Pillow that a PNG file keeps; TIFF keeps the others."""


def decode(content: bytes, called: str, decoding: Decoding = ANY) -> Picture:
    """An image that a shard holds: that of a file, or the array of a .npy file.

    Raises:
        DataError: it is damaged.
    """
    return replace(decoding, arrays=True).read(content, called)


def content_header(content: bytes, called: str, decoding: Decoding = ANY) -> Header:
    """The header of an image that a shard holds."""
    return replace(decoding, arrays=True).header(io.BytesIO(content), called=called)


def is_equal(one: Picture, other: Picture) -> bool:
    """Whether two decoded images are the same to the bit, colours of a palette too; H W is H W 1."""
    if isinstance(one, Image.Image) != isinstance(other, Image.Image):
        return False
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        looks = [(image.mode, image.getpalette(), image.info.get("transparency")) for image in (one, other)]
        if looks[0] != looks[1]:
            return False
    a, b = np.atleast_3d(np.asarray(one)), np.atleast_3d(np.asarray(other))
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def encode_exactly(picture: Picture, called: str) -> bytes:
    """An image from which `decode` gets the same one, to the bit.

    Raises:
        DataError: it is of a mode that no format keeps, or has lost half of its bits already.
    """
    _refuse_narrowed(picture, called)
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


def encode_half(content: bytes, side: int, called: str, decoding: Decoding) -> bytes:
    """The left (0) or the right (1) image of a file that holds two, as a file; one of 16 bits keeps them.

    Raises:
        DataError: it is damaged, or cannot be cut.
    """
    picture = halves(called, decode(content, called, decoding))[side]
    if not (isinstance(picture, Image.Image) and NARROWED in picture.info):
        return encode_exactly(picture, called)
    values = np.asarray(halves(called, read_values(content, called))[side])
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(swapped(values)))
    assert done
    return encoded.tobytes()


def encode_as(picture: Picture, format: Literal["webp", "jpeg"], quality: int, called: str) -> bytes:
    """An image of 8 bits encoded with loss.

    Raises:
        DataError: it is no gray or RGB image of 8 bits.
    """
    _refuse_narrowed(picture, called)
    if not isinstance(picture, Image.Image) or picture.mode not in ("L", "RGB"):
        mode = picture.mode if isinstance(picture, Image.Image) else f"array of {picture.dtype}"
        raise DataError(f"format={format} keeps gray and RGB images of 8 bits, and {called} is {mode}: use format=keep")
    buffer = io.BytesIO()
    plain = picture.copy()
    plain.info = {}
    plain.save(buffer, format.upper(), quality=quality)
    return buffer.getvalue()


def _refuse_narrowed(picture: Picture, called: str) -> None:
    if isinstance(picture, Image.Image) and NARROWED in picture.info:
        raise DataError(f"{called} has several channels of 16 bits, which only format=keep keeps, of files as they are")
