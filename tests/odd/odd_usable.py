"""Files that can be used, odd as they are."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

import numpy as np
from odd_making import (
    HEIGHT,
    ORIENTATION,
    WIDTH,
    Array,
    Entry,
    chunk,
    cmyk16_tiff,
    damaged_jpeg,
    decoded,
    deep_png,
    deep_tiff,
    encoded,
    gray3,
    luma,
    orientation,
    over_white,
    photo,
    ramp,
    saved,
    written,
)
from PIL import Image


def usable() -> Iterator[Entry]:
    """All of them."""
    for part in (formats, depths, transparent, several, turned, sizes, names):
        yield from part()


def formats() -> Iterator[Entry]:
    """Kinds of files and of colours, all of 8 bits and without transparency."""
    a = photo(1)
    yield Entry("plain", "plain.png", saved(a), a)
    g = luma(photo(2))
    yield Entry("gray PNG", "gray-png.png", saved(g), gray3(g), checks=frozenset({"mode"}))
    g = luma(photo(3))
    yield Entry("gray JPEG", "gray-jpeg.jpg", saved(g, quality=95), gray3(g), 2.5, checks=frozenset({"mode"}))
    g = (luma(photo(4)) > 127) * np.uint8(255)
    yield Entry("one bit", "one-bit.png", saved(g, "1"), gray3(g), checks=frozenset({"mode"}))
    a = photo(5)
    yield Entry("CMYK JPEG", "cmyk-jpeg.jpg", saved(a, "CMYK", quality=95), a, 2, checks=frozenset({"mode"}))
    a = photo(6)
    yield Entry("CMYK TIFF", "cmyk-tiff.tif", saved(a, "CMYK"), a, 1, checks=frozenset({"mode"}))
    a = photo(7)
    yield Entry("Lab TIFF", "lab.tif", saved(photo(7), "LAB"), a, 2, checks=frozenset({"mode"}))
    quantized = Image.fromarray(photo(8)).quantize(64)
    yield Entry(
        "palette", "palette.png", quantized.save, np.asarray(quantized.convert("RGB")), checks=frozenset({"palette"})
    )
    a = photo(9)
    yield Entry("progressive JPEG", "progressive.jpg", saved(a, quality=95, progressive=True), a, 2)
    a = photo(10)
    yield Entry("bitmap", "bitmap.bmp", saved(a), a)
    a = photo(11)
    plain = f"P3 {WIDTH} {HEIGHT} 255\n{' '.join(map(str, a.ravel()))}\n"
    yield Entry("PPM in digits", "digits.ppm", written(plain.encode()), a)
    a = photo(12)
    yield Entry("JPEG named .png", "really-jpeg.png", written(encoded(a, "JPEG", quality=95)), a, 2)
    a = photo(13)
    yield Entry("PNG named .jpg", "really-png.jpg", written(encoded(a, "PNG")), a)
    a = photo(14)
    yield Entry("more after the end", "more.jpg", written(encoded(a, "JPEG", quality=95) + b"\0junk" * 99), a, 2)
    content = damaged_jpeg(photo(16), first=0.7, zeros=200)
    yield Entry(
        "JPEG with lost bytes", "lost-bytes.jpg", written(content), decoded(content), checks=frozenset({"damaged_jpeg"})
    )
    a = photo(15)
    yield Entry("damaged colour profile", "profile.png", saved(a, icc_profile=b"no profile"), a)


def depths() -> Iterator[Entry]:
    """More than 8 bits. Sixteen of them are 257 times eight, so what a training reads is known exactly."""
    bits, gray_bits = frozenset({"bit_depth"}), frozenset({"bit_depth", "mode"})
    g = luma(photo(20))
    yield Entry("16-bit PNG", "png16.png", saved(g.astype(np.uint16) * 257), gray3(g), deep=True, checks=gray_bits)
    g = luma(photo(21))
    big_endian = g.astype(np.uint16) * 257
    yield Entry("16-bit TIFF", "tiff16.tif", saved(big_endian), gray3(g), deep=True, checks=gray_bits)
    g = luma(photo(22))
    image = Image.frombytes("I;16B", (WIDTH, HEIGHT), (g.astype(np.uint16) * 257).astype(">u2").tobytes())
    yield Entry("big-endian TIFF", "tiff16-big.tif", image.save, gray3(g), deep=True, checks=gray_bits)
    a = photo(23)
    yield Entry("16-bit RGB PNG", "rgb16-png.png", written(deep_png(a * np.uint16(257))), a, deep=True, checks=bits)
    a = photo(24)
    yield Entry("16-bit RGB TIFF", "rgb16-tiff.tif", written(deep_tiff(a * np.uint16(257))), a, deep=True, checks=bits)
    a = photo(29)
    yield Entry("16-bit CMYK TIFF", "cmyk16.tif", written(cmyk16_tiff(a)), a, 1, checks=bits)
    g = luma(photo(25))
    content = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + (g.astype(np.uint16) * 257).astype(">u2").tobytes()
    yield Entry("16-bit PGM", "pgm16.pgm", written(content), gray3(g), deep=True, checks=gray_bits)
    g = luma(photo(26))
    yield Entry("32-bit TIFF", "tiff32.tif", saved(g.astype(np.int32) * 257), gray3(g), deep=True, checks=gray_bits)
    g = luma(photo(27))
    yield Entry("float TIFF", "float.tif", saved(g / np.float32(255)), gray3(g), deep=True, checks=gray_bits)
    g = luma(photo(28))
    wild = (g / np.float32(255)).astype(np.float32)
    wild[:4], wild[4:8] = 7.0, -7.0
    expected = g.copy()
    expected[:4], expected[4:8] = 255, 0
    found = gray_bits | {"value_range"}
    yield Entry("float TIFF out of range", "float-wild.tif", saved(wild), gray3(expected), deep=True, checks=found)


def transparent() -> Iterator[Entry]:
    """Transparency, which training lays over white and results keep."""
    found, alpha = frozenset({"alpha"}), ramp()
    a = photo(30)
    rgba = np.dstack([a, alpha])
    yield Entry("RGBA", "rgba.png", saved(rgba), over_white(a, alpha), 0.6, alpha, checks=found)
    g = luma(photo(31))
    la = np.dstack([g, alpha])
    yield Entry("LA", "la.png", saved(la), over_white(gray3(g), alpha), 0.6, alpha, checks=found | {"mode"})
    a = photo(32)
    yield Entry(
        "RGBA WebP", "rgba-webp.webp", saved(np.dstack([a, alpha]), lossless=True, exact=True), over_white(a, alpha),
        0.6, alpha, checks=found,
    )  # fmt: skip
    a = photo(33)
    yield Entry(
        "RGBA TIFF", "rgba-tiff.tif", saved(np.dstack([a, alpha])), over_white(a, alpha), 0.6, alpha, checks=found
    )
    a = photo(34)
    content = deep_png(np.dstack([a, alpha]) * np.uint16(257))
    yield Entry(
        "16-bit RGBA", "rgba16.png", written(content), over_white(a, alpha), 0.6, alpha, True,
        checks=found | {"bit_depth"},
    )  # fmt: skip
    image = Image.fromarray(photo(35)).quantize(64)
    clear = np.where(np.asarray(image) < 8, 0, 255).astype(np.uint8)
    yield Entry(
        "palette with transparency", "palette-clear.png",
        lambda path: image.save(path, transparency=bytes(8) + bytes([255]) * 56),
        over_white(np.asarray(image.convert("RGB")), clear), 0, clear, checks=found | {"palette"},
    )  # fmt: skip
    a = photo(36)
    a[5:9, 5:15] = 1, 2, 3
    clear = np.full((HEIGHT, WIDTH), 255, np.uint8)
    clear[5:9, 5:15] = 0
    yield Entry(
        "a transparent colour", "colour-clear.png", saved(a, transparency=(1, 2, 3)), over_white(a, clear), 0, clear,
        checks=found,
    )  # fmt: skip


def several() -> Iterator[Entry]:
    """More than one image in a file: the first is taken."""
    found = frozenset({"frames"})
    a, more = photo(40), [Image.fromarray(photo(41, 60, 20)), Image.fromarray(photo(42))]
    yield Entry("multi-page TIFF", "pages.tif", saved(a, save_all=True, append_images=more), a, checks=found)
    a, more = photo(43), [Image.fromarray(photo(44))]
    options = {"save_all": True, "append_images": more}
    yield Entry("animated WebP", "moving.webp", saved(a, lossless=True, **options), a, checks=found)
    a = photo(45)
    yield Entry("animated PNG", "moving-png.png", saved(a, **options), a, checks=found)
    image = Image.fromarray(photo(46)).quantize(32)
    yield Entry(
        "animated GIF named .png", "really-gif.png", lambda path: image.save(path, "GIF", **options),
        np.asarray(image.convert("RGB")), 0.5, checks=found | {"palette"},
    )  # fmt: skip
    a = photo(47)
    yield Entry("two photos in a JPEG", "mpo.jpg", saved(a, format="MPO", quality=95, **options), a, 2, checks=found)


def turned() -> Iterator[Entry]:
    """Orientation by EXIF, in every kind of file that has it."""
    found = frozenset({"orientation"})
    upright: dict[int, Callable[[Array], Array]] = {
        2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90,
    }  # fmt: skip
    kinds = {2: ".jpg", 3: ".jpg", 4: ".tif", 5: ".webp", 6: ".jpg", 7: ".png", 8: ".jpg"}
    for value, turn in upright.items():
        a, suffix = photo(50 + value), kinds[value]
        options = {".webp": {"lossless": True}, ".jpg": {"quality": 95}}.get(suffix, {})
        write = saved(a, exif=orientation(value), **options)
        tolerance = 2 if suffix == ".jpg" else 0
        yield Entry(f"EXIF orientation {value}", f"turned-{value}{suffix}", write, turn(a), tolerance, checks=found)
    a = photo(60)
    yield Entry("undefined orientation", "turned-9.png", saved(a, exif=orientation(9)), a, checks=found)
    a = photo(61)
    content = encoded(a, "PNG")
    exif = chunk(b"eXIf", orientation(6).tobytes().removeprefix(b"Exif\0\0"))
    late = content[:-12] + exif + content[-12:]
    yield Entry("orientation after the pixels", "turned-late.png", written(late), np.rot90(a, -1), checks=found)
    a = photo(62)
    twice = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, ORIENTATION, 3, 2, 6, 6, 0)
    yield Entry("two orientations", "turned-twice.png", saved(a, exif=twice), np.rot90(a, -1), checks=found)
    a = photo(63)
    nonsense = b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense"
    yield Entry("damaged EXIF", "exif-damaged.jpg", saved(a, quality=95, exif=nonsense), a, 2)


def sizes() -> Iterator[Entry]:
    """Small, long and large."""
    small = frozenset({"too_small"})
    yield Entry("1x1", "1x1.png", saved(photo(70)[:1, :1]), photo(70)[:1, :1], checks=small | {"blank"})
    yield Entry("1x4000", "1x4000.png", saved(photo(71, 1, 4000)), photo(71, 1, 4000), checks=small)
    yield Entry("5000x3", "5000x3.png", saved(photo(72, 5000, 3)), photo(72, 5000, 3), checks=small)
    large = photo(73, 4000, 3000)
    yield Entry("12 megapixels", "large.jpg", saved(large, quality=90), large, 2)


def names() -> Iterator[Entry]:
    """Names that shells, terminals and file systems make difficult."""
    trouble = frozenset({"name"})
    for seed, (name, file, checks) in enumerate((
        ("a name with spaces", " two  words .png", frozenset()),
        ("unicode", "фасад 正面 é 🏠.png", frozenset()),
        ("newline", "two\nlines.png", trouble),
        ("escape sequence", "\x1b[31mred\t.png", trouble),
        ("broken encoding", os.fsdecode(b"\xff\xfe.png"), trouble),
        ("250 characters", "n" * 246 + ".png", trouble),
        ("shell characters", "-a[b]*'c\"$(x)&#%{}=,.png", frozenset()),
        ("upper case", "UPPER.PNG", frozenset()),
        ("many dots", "a.b.jpg.c.png", frozenset()),
    )):  # fmt: skip
        a = photo(80 + seed)
        yield Entry(name, file, saved(a, format="PNG"), a, checks=checks)
