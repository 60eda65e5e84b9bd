"""Image files of 8 and 16 bits, with their transparency, in and out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import cv2
import numpy as np
from PIL import Image

from patchlight.data.images import load
from patchlight.data.labels import not_labels
from patchlight.errors import DataError
from patchlight.inference.pixels import ORIENTATION, Array, Pixels, from_array, from_image, upright
from patchlight.system.image_file import decode_unchanged, open_image

Format = Literal["png", "jpg", "tif", "webp"]

FORMATS: dict[str, Format] = {
    ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".tif": "tif", ".tiff": "tif", ".webp": "webp",
}  # fmt: skip
"""Which format a file name asks for."""

# PNG files of level 1 are a fifth larger than those of Pillow's level 6, and are written three times faster.
OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1}, "jpg": {"format": "JPEG", "quality": 95},
    "tif": {"format": "TIFF", "compression": "tiff_lzw"}, "webp": {"format": "WEBP", "quality": 95},
}  # fmt: skip
"""How Pillow writes each format."""

BITS_PER_SAMPLE = 258

DEEP_MODES = ("LA", "RGB", "RGBA")
"""Modes of 8 bits in which Pillow reads what may have 16; other colours, as CMYK, are read with 8 as in training."""


def read_pixels(path: Path) -> Pixels:
    """The first image of a file, upright.

    Raises:
        DataError: the file is not there, truncated, no image, or so large that decoding it may exhaust memory.
    """
    with open_image(path, called="it", advice="") as file:
        load(path, file)
        pixels = _read_deep(path, file) if file.mode in DEEP_MODES and _has_16_bits(path, file) else None
        return from_image(file) if pixels is None else pixels


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
        with open_image(path) as file:
            return file.width * file.height
    except DataError:  # what is wrong is told when the file is read
        return 0


def _has_16_bits(path: Path, file: Image.Image) -> bool:
    """Whether a file has more bits than the mode says in which Pillow would read it."""
    if file.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(25)[24:] == b"\x10"
    if file.format == "TIFF":
        bits = file.tag_v2.get(BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    return False


def _read_deep(path: Path, file: Image.Image) -> Pixels | None:
    """By OpenCV; None for what it cannot read, or reads as an image of another size."""
    array = decode_unchanged(path.read_bytes(), str(file.format))
    if array is None or array.dtype != np.uint16:
        return None
    orientation = file.getexif().get(ORIENTATION, 1)
    # OpenCV turns a TIFF by itself.
    pixels = from_array(upright(_swapped(array), orientation if file.format == "PNG" else 1))
    return pixels if sorted(pixels.size) == sorted(file.size) else None


def write_pixels(path: Path, pixels: Pixels) -> None:
    """Write a file of the format that its name asks for, in one piece.

    Raises:
        DataError: the format cannot hold 16 bits or alpha, or the file cannot be written.
    """
    kind = FORMATS[path.suffix.lower()]
    if pixels.is_16bit and kind in ("jpg", "webp"):
        raise DataError(f"it has 16 bits, which {kind} cannot hold: use format=png or format=tif")
    if pixels.colour.shape[2] > 3:
        raise DataError(f"its result has {pixels.colour.shape[2]} channels, which {kind} cannot hold: translate arrays")
    if pixels.alpha is not None and kind == "jpg":
        raise DataError("it has transparency, which jpg cannot hold: use format=png, format=tif or format=webp")

    def encode(file: IO[bytes]) -> None:
        if pixels.is_16bit:
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
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(_swapped(array)))
    assert done
    return encoded.tobytes()


def _swapped(array: Array) -> Array:
    """OpenCV's BGR to RGB, and back."""
    if array.ndim == 2:
        return array
    return array[:, :, [2, 1, 0, *range(3, array.shape[2])]]
