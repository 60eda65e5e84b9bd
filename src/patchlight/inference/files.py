"""Image files of 8 and 16 bits, with their transparency, in and out."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import cv2
import numpy as np
from PIL import Image

from patchlight.data.arrays import is_array
from patchlight.data.bands import Bands
from patchlight.data.content import Content
from patchlight.data.decoding import (
    decode_16_bits,
    read_values,
    swapped,
    values_header,
)
from patchlight.data.image_files import has_16_bits, load
from patchlight.data.labels import not_labels
from patchlight.errors import DataError
from patchlight.inference.pixels import Pixels, from_array, from_image, with_values
from patchlight.system.image_file import open_image

Format = Literal["png", "jpg", "tif", "webp", "npy"]

FORMATS: dict[str, Format] = {
    ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".tif": "tif", ".tiff": "tif", ".webp": "webp",
    ".npy": "npy",
}  # fmt: skip
"""Which format a file name asks for."""

# PNG files of level 1 are a fifth larger than those of Pillow's level 6, and are written three times faster.
OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1}, "jpg": {"format": "JPEG", "quality": 95},
    "tif": {"format": "TIFF", "compression": "tiff_lzw"}, "webp": {"format": "WEBP", "quality": 95}, "npy": {},
}  # fmt: skip
"""How Pillow writes each format."""


def read_pixels(path: Path) -> Pixels:
    """The first image of a file, upright.

    Raises:
        DataError: the file is not there, truncated, no image, or so large that decoding it may exhaust memory.
    """
    with open_image(path, called="it", advice="") as file:
        is_deep = has_16_bits(file)
        load(path, file)
        deep = decode_16_bits(path, file) if is_deep else None
        return from_image(file) if deep is None else from_array(deep)


def read_content(path: Path, content: Content) -> Pixels:
    """The image of a file as `Pixels.for_content` needs it: of bands the values of the file, see `read_values`.

    Raises:
        DataError: as `read_pixels`.
    """
    if isinstance(content, Bands):
        return with_values(read_values(path, called="it", advice=""))
    return read_pixels(path)


def read_instances(path: Path, labels: Pixels) -> Pixels:
    """A label map with the numbers of its instances from another file.

    Raises:
        DataError: the file cannot be read, has colours, or is of another size.
    """
    found = read_pixels(path)
    if found.indices is None and found.colour.shape[2] != 1:
        raise DataError(f"its instances in {path} cannot be used: {not_labels('RGB')}")
    if found.size != labels.size:
        raise DataError(f"its instances in {path} are of another size")
    return replace(labels, instances=found.colour[:, :, 0] if found.indices is None else found.indices)


def announced_pixels(path: Path) -> int:
    """Pixels that a file says it has, without decoding it; 0 where that cannot be read."""
    try:
        if is_array(path):
            header = values_header(path)
            return header.width * header.height
        with open_image(path) as file:
            return file.width * file.height
    except DataError:  # what is wrong is told when the file is read
        return 0


def write_pixels(path: Path, pixels: Pixels) -> None:
    """Write a file of the format that its name asks for, in one piece; bands that are no colours as pages of a TIFF.

    Raises:
        DataError: the format cannot hold its depth, channels or alpha, or the file cannot be written.
    """
    kind = FORMATS[path.suffix.lower()]
    if pixels.is_16bit and kind in ("jpg", "webp"):
        raise DataError(f"it has 16 bits, which {kind} cannot hold: use format=png or format=tif")
    if pixels.colour.dtype == np.float32 and kind not in ("tif", "npy"):
        raise DataError(f"its result is in floating point, which {kind} cannot hold: use format=tif or format=npy")
    channels = pixels.colour.shape[2] + (pixels.alpha is not None)
    if (channels > 4 or (channels == 2 and pixels.alpha is None)) and kind not in ("tif", "npy"):
        raise DataError(f"its result has {channels} channels, which {kind} cannot hold: use format=tif or format=npy")
    if channels == 4 and pixels.alpha is None and kind == "jpg":
        raise DataError("its result has 4 channels, which jpg cannot hold: use format=png or format=tif")
    if pixels.alpha is not None and kind == "jpg":
        raise DataError("it has transparency, which jpg cannot hold: use format=png, format=tif or format=webp")

    stacked = pixels.alpha is None and channels > 1 and (channels not in (3, 4) or pixels.colour.dtype == np.float32)

    def encode(file: IO[bytes]) -> None:
        if kind == "npy":
            np.save(file, pixels.array(), allow_pickle=False)
        elif stacked:
            first, *others = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(pixels.colour, 2, 0))
            stack = io.BytesIO()  # which Pillow reads again
            first.save(stack, **OPTIONS["tif"], save_all=True, append_images=others)
            file.write(stack.getbuffer())
        elif pixels.is_16bit:
            file.write(_encode_deep(pixels, f".{kind}"))
        else:
            Image.fromarray(pixels.array()).save(file, **OPTIONS[kind])

    _write(path, encode)


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG file in one piece.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, lambda file: picture.save(file, **OPTIONS["png"]))


def _write(path: Path, encode: Callable[[IO[bytes]], None]) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            encode(file)
        temporary.replace(path)
    # Pillow raises a ValueError for sides that a format has no room for.
    except (OSError, ValueError, cv2.error) as error:
        with suppress(OSError):
            temporary.unlink()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise DataError(f"its result {path} cannot be written ({reason})") from None


def _encode_deep(pixels: Pixels, suffix: str) -> bytes:
    array = pixels.array()
    if array.ndim == 3 and array.shape[2] == 2:  # OpenCV has no gray with alpha
        array = np.dstack([array[:, :, :1]] * 3 + [array[:, :, 1:]])
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(swapped(array)))
    assert done
    return encoded.tobytes()
