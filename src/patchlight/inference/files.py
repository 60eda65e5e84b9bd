"""Image files of 8 and 16 bits, with their transparency, in and out."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image

from patchlight.errors import DataError
from patchlight.inference.pixels import ORIENTATION, Array, Pixels, from_array, from_image, upright

Format = Literal["png", "jpg", "tif", "webp"]

FORMATS: dict[str, Format] = {
    ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".tif": "tif", ".tiff": "tif", ".webp": "webp",
}  # fmt: skip
"""Which format a file name asks for."""

PILLOW_NAMES: dict[Format, str] = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "webp": "WEBP"}

# PNG files of level 1 are a fifth larger than those of Pillow's level 6, and are written three times faster.
OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"compress_level": 1}, "jpg": {"quality": 95}, "tif": {"compression": "tiff_lzw"}, "webp": {"quality": 95},
}  # fmt: skip
"""How Pillow writes each format."""

BITS_PER_SAMPLE = 258


def read_pixels(path: Path) -> Pixels:
    """The first image of a file, upright.

    Raises:
        DataError: the file is not there, truncated, no image, or so large that decoding it may exhaust memory.
    """
    try:
        with Image.open(path) as file:
            if Image.MAX_IMAGE_PIXELS is not None and file.width * file.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{file.width}x{file.height} pixels")
            if file.mode not in ("I", "F") and not file.mode.startswith("I;16") and _has_16_bits(path, file):
                return _read_deep(path, file.getexif().get(ORIENTATION, 1) if file.format == "PNG" else 1)
            file.load()
            return from_image(file)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"it is too large to be decoded safely ({error}): scale it down first") from None
    except Exception as error:  # a damaged file makes decoders raise all kinds, struct.error for one
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise DataError(f"it cannot be read as an image ({reason or type(error).__name__})") from None


def _has_16_bits(path: Path, file: Image.Image) -> bool:
    """Whether a file has more bits than the mode says in which Pillow would read it."""
    if file.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(25)[24:] == b"\x10"
    if file.format == "TIFF":
        bits = file.tag_v2.get(BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    return False


def _read_deep(path: Path, orientation: int) -> Pixels:
    """By OpenCV, which turns a TIFF upright by itself."""
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise DataError("its 16-bit values cannot be decoded")
    return from_array(upright(_swapped(np.asarray(array)), orientation))


def write_pixels(path: Path, pixels: Pixels) -> None:
    """Write a file of the format that its name asks for, in one piece.

    Raises:
        DataError: the format cannot hold 16 bits or alpha, or the file cannot be written.
    """
    kind = FORMATS[path.suffix.lower()]
    if pixels.deep and kind in ("jpg", "webp"):
        raise DataError(f"it has 16 bits, which {kind} cannot hold: use format=png or format=tif")
    if pixels.alpha is not None and kind == "jpg":
        raise DataError("it has transparency, which jpg cannot hold: use format=png, format=tif or format=webp")
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            if pixels.deep:
                file.write(_encode_deep(pixels, f".{kind}"))
            else:
                Image.fromarray(pixels.array()).save(file, PILLOW_NAMES[kind], **OPTIONS[kind])
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
