"""What an odd file is, and how to make one."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
Write = Callable[[Path], object]

WIDTH, HEIGHT = 40, 28
"""Pixels of an image without anything odd about its size: multiples of 4, so that a training can leave them alone."""

ORIENTATION = 0x0112


@dataclass(frozen=True)
class Entry:
    """A file and what is expected of it.

    `pixels` are what a training reads, H W C of RGB, within `tolerance` levels on average; None where the file is
    refused, for a reason that matches `refused`. `alpha` is the transparency that a result keeps, `deep` whether it has
    16 bits. `checks` are those with which the doctor names the file.
    """

    name: str
    file: str
    write: Write
    pixels: Array | None = None
    tolerance: float = 0.0
    alpha: Array | None = None
    deep: bool = False
    refused: str = ""
    checks: frozenset[str] = frozenset()


def photo(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Array:
    """Smooth colours, another image for each seed: H W 3."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def luma(array: Array) -> Array:
    """H W."""
    return np.asarray(Image.fromarray(array).convert("L"))


def gray3(gray: Array) -> Array:
    return np.repeat(gray[:, :, None], 3, axis=2)


def ramp(height: int = HEIGHT, width: int = WIDTH) -> Array:
    """A transparency that is full at the left and none at the right."""
    return np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width)).copy()


def over_white(array: Array, alpha: Array) -> Array:
    share = alpha[:, :, None] / 255
    return np.asarray((array * share + 255 * (1 - share)).round(), np.uint8)


def saved(array: Array, mode: str | None = None, **options: Any) -> Write:
    image = Image.fromarray(array)
    return lambda path: (image if mode is None else image.convert(mode)).save(path, **options)


def encoded(array: Array, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def written(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A piece of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG file with these chunks between its header and its end."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def deep_png(array: Array) -> bytes:
    """A PNG file of 16 bits: gray, RGB or RGBA."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], chunk(b"IDAT", zlib.compress(rows)))


def deep_tiff(array: Array, separated: bool = False) -> bytes:
    """A TIFF file of 16-bit RGB or CMYK, which Pillow reads but does not write; its directory stands first."""
    height, width, channels = array.shape
    pixels = array.astype("<u2").tobytes()
    bits, strip = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 2 * channels  # where these begin
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, bits), (259, 3, 1, 1),
        (262, 3, 1, 5 if separated else 2),
        (273, 4, 1, strip), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)
    return head + struct.pack(f"<{channels}H", *[16] * channels) + pixels


def cmyk16_tiff(array: Array) -> bytes:
    """A TIFF file of 16-bit CMYK, 0 to 65535, without black; its directory stands before the pixels."""
    inks = np.dstack([255 - array, np.zeros(array.shape[:2], np.uint8)]) * np.uint16(257)
    return deep_tiff(inks, separated=True)


def damaged_jpeg(array: Array, *, first: float, zeros: int, **options: Any) -> bytes:
    """A JPEG file in which some bytes are lost, from a share of its length on: its markers are all there."""
    content = bytearray(encoded(array, "JPEG", quality=95, **options))
    begin = int(len(content) * first)
    content[begin : begin + zeros] = bytes(zeros)
    return bytes(content)


def decoded(content: bytes) -> Array:
    """What Pillow makes of a file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif
