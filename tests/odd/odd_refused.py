"""Files that cannot be used: each is to be told of in one message that names it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from odd_making import HEIGHT, WIDTH, Entry, Write, chunk, deep_png, deep_tiff, encoded, photo, png, saved, written

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 28\n%%EndComments\nshowpage\n%%EOF\n"
"""A program, which readers of EPS give to Ghostscript."""


def refused() -> Iterator[Entry]:
    """All of them."""
    for part in (cut_off, no_images, damaged, jpegs, no_numbers, links):
        yield from part()


def cut_off() -> Iterator[Entry]:
    """Files of which the end is missing."""
    a = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    deep = a * np.uint16(257)
    whole = {
        "JPEG": ("cut-jpeg.jpg", encoded(a, "JPEG")), "PNG": ("cut-png.png", encoded(a, "PNG")),
        "WebP": ("cut-webp.webp", encoded(a, "WEBP")), "BMP": ("cut-bmp.bmp", encoded(a, "BMP")),
        "TIFF": ("cut-tiff.tif", encoded(a, "TIFF")),
        "packed TIFF": ("cut-lzw.tif", encoded(a, "TIFF", compression="tiff_lzw")),

        "PPM": ("cut-ppm.ppm", encoded(a, "PPM")), "16-bit PNG": ("cut-png16.png", deep_png(deep)),
        "16-bit TIFF": ("cut-tiff16.tif", deep_tiff(deep)),
    }  # fmt: skip
    for kind, (file, content) in whole.items():
        # The directory of a TIFF file may stand at its end: without it, it is no image at all.
        check = "unreadable" if kind in ("WebP", "packed TIFF") else "truncated"
        yield Entry(
            f"truncated {kind}", file, written(content[: len(content) * 3 // 4]), refused="cannot be read as an image",
            checks=frozenset({check}),
        )  # fmt: skip
    first = encoded(a, "JPEG")[:20]
    yield Entry(
        "beginning of a JPEG", "begun.jpg", written(first), refused="cannot be read", checks=frozenset({"unreadable"})
    )


def no_images() -> Iterator[Entry]:
    """Files that only have the name of an image."""
    yield Entry(
        "zero bytes", "nothing.png", written(b""), refused="(has no bytes|cannot be read)",
        checks=frozenset({"empty_file"}),
    )  # fmt: skip
    contents = {
        "text named .png": ("text.png", b"hello\n"),
        "web page named .jpg": ("page.jpg", b"<!DOCTYPE html><title>403 Forbidden</title>\n"),
        "HEIC named .jpg": ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)),
        "archive named .png": ("archive.png", b"PK\3\4" + bytes(400)),
        "noise named .webp": ("noise.webp", np.random.default_rng(0).bytes(4000)),
        "zeros named .tif": ("zeros.tif", bytes(4096)),
        "EPS named .png": ("drawing.png", EPS),
        "JPEG 2000 named .jpg": ("jpeg-2000.jpg", encoded(photo(90), "JPEG2000")),
        "icon named .bmp": ("icon.bmp", encoded(photo(91), "ICO")),
        "text with a newline in its name": ("text\nlines.png", b"hello\n"),
    }
    for name, (file, content) in contents.items():
        yield Entry(
            name, file, written(content), refused=r"cannot be read as an image \(cannot identify image file",
            checks=frozenset({"unreadable", "name"} if "\n" in file else {"unreadable"}),
        )  # fmt: skip


def damaged() -> Iterator[Entry]:
    """Files that begin like an image and are none."""
    unreadable, too_large = frozenset({"unreadable"}), frozenset({"too_large"})
    pixels = chunk(b"IDAT", zlib.compress(bytes(HEIGHT * (1 + WIDTH * 3))))
    for name, file, content in (
        ("damaged header", "header.png", png(WIDTH, HEIGHT, 8, 2, pixels).replace(b"IHDR\0", b"IHDR\1", 1)),
        ("damaged pixels", "pixels.png", png(WIDTH, HEIGHT, 8, 2, chunk(b"IDAT", b"\x78\x9cthis is no stream"))),
        ("no pixels", "no-pixels.png", png(WIDTH, HEIGHT, 8, 2)),
        ("no width", "no-width.png", png(0, HEIGHT, 8, 2, chunk(b"IDAT", zlib.compress(bytes(HEIGHT))))),
        ("no size", "no-size.ppm", b"P6 0 0 255\n"),
        ("lost directory", "lost.tif", b"II*\0\xff\xff\xff\x7f" + bytes(100)),
    ):
        yield Entry(name, file, written(content), refused="cannot be read as an image", checks=unreadable)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**27)))
    content = png(WIDTH, HEIGHT, 8, 2, text, pixels)
    yield Entry(
        "bomb of text", "bomb-text.png", written(content), refused="cannot be read as an image", checks=unreadable
    )
    for name, file, size in (
        ("decompression bomb", "bomb.png", 60_000),
        ("slightly too large", "bomb-small.png", 9_500),
    ):
        content = png(size, size, 8, 2, chunk(b"IDAT", b""))
        refused = r"is too large to be decoded safely \(.*\): scale it down first"
        yield Entry(name, file, written(content), refused=refused, checks=too_large)


def jpegs() -> Iterator[Entry]:
    """JPEG files whose markers tell that they are damaged, and which decoders read in silence."""
    content = encoded(photo(92), "JPEG", quality=95, restart_marker_blocks=2)
    swapped = content.replace(b"\xff\xd1", b"\xff\xd6", 1)
    lost = content.replace(b"\xff\xd1", b"\xa1\xd1", 1)
    whole = encoded(photo(93), "JPEG", quality=95)
    middle = len(whole) - 200
    broken = whole[:middle] + b"\xff\x01" + whole[middle + 2 :]
    for name, file, damaged in (
        ("restart marker out of order", "restart.jpg", swapped),
        ("lost restart marker", "lost-restart.jpg", lost),
        ("marker among the pixels", "marker.jpg", broken),
    ):
        refused = r"cannot be read as an image \(its pixels are damaged: "
        yield Entry(name, file, written(damaged), refused=refused, checks=frozenset({"unreadable"}))


def no_numbers() -> Iterator[Entry]:
    """Floating-point files with values that are none."""
    for name, file, value in (("NaN", "nan.tif", np.nan), ("infinity", "infinity.tif", -np.inf)):
        values = np.full((HEIGHT, WIDTH), 0.5, np.float32)
        values[3, 4:7] = value
        refused = rf"cannot be read as an image \(3 of its {HEIGHT * WIDTH} values are NaN or infinite\)"
        yield Entry(name, file, saved(values), refused=refused, checks=frozenset({"unreadable"}))


def links() -> Iterator[Entry]:
    """Names behind which there is no file."""
    for name, file, write, reason, check in (
        ("link to nowhere", "nowhere.png", _link("gone"), "No such file or directory", "link"),
        ("link to itself", "itself.png", _link("itself.png"), "Too many levels of symbolic links", "link"),
        ("link to a pipe", "channel.png", _link_to_pipe, "it is no regular file", "unreadable"),
        ("pipe", "pipe.png", os.mkfifo, "it is no regular file", "unreadable"),
    ):
        refused = rf"cannot be read as an image \({reason}\)"
        yield Entry(name, file, write, refused=refused, checks=frozenset({check}))


def _link(target: str) -> Write:
    return lambda path: path.symlink_to(target)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(""))
    path.symlink_to(path.with_suffix(""))
