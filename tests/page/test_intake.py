from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchlight.errors import DataError
from patchlight.page.intake import ANY, FACADES, Limits, read_drawing, read_upload, showable

LIMITS = Limits(max_bytes=2**20, max_pixels=1000)


def header(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size, without any pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 1000) + b"IDAT"


def drawing(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_an_image_within_the_limits(tmp_path: Path) -> None:
    array = np.arange(40 * 25 * 3, dtype=np.uint8).reshape(25, 40, 3)
    Image.fromarray(array).save(tmp_path / "a.png")
    assert np.array_equal(read_upload(tmp_path / "a.png", LIMITS).colour, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * (2**20 + 1), "The file has 1.0 MiB: at most 1 are allowed"),
        (header(41, 25), r"has 41x25 pixels \(0.0 million\): at most 0.001 million are allowed"),
        (header(20000, 20000), "too many pixels: at most 0.001 million"),
        (header(10, 10), "The file cannot be used: "),
        (b"no image", "cannot be read as an image: give PNG"),
    ],
)
def test_the_header_decides_before_anything_is_decoded(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_upload(path, LIMITS)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="upload it again"):
        read_upload(tmp_path / "a.png", LIMITS)


def test_browsers_get_a_png_of_what_they_cannot_show(tmp_path: Path) -> None:
    deep = np.arange(300, dtype=np.uint16).reshape(15, 20) * 200
    Image.fromarray(deep).save(tmp_path / "scan.tif")
    pixels = read_upload(tmp_path / "scan.tif", LIMITS)
    shown = showable(tmp_path / "scan.tif", pixels, tmp_path)
    assert shown == tmp_path / "scan.png"
    assert np.array_equal(np.asarray(Image.open(shown)), deep)
    assert showable(shown, pixels, tmp_path) == shown


def test_drawings_of_label_maps_have_no_blends() -> None:
    array = np.full((8, 8, 3), (0, 0, 222), np.uint8)
    array[2] = (3, 120, 250)
    snapped = read_drawing(drawing(array), FACADES, 8).colour
    assert snapped[2].tolist() == [[0, 128, 255]] * 8
    assert snapped[3].tolist() == [[0, 0, 222]] * 8
    assert np.array_equal(read_drawing(drawing(array), ANY, 8).colour, array)


@pytest.mark.parametrize(
    "url", ["", "data:image/png;base64,%%%", "data:image/png;base64,AAAA", drawing(np.zeros((9, 8, 3), np.uint8))]
)
def test_only_what_the_canvas_sends_is_taken(url: str) -> None:
    with pytest.raises(DataError, match="did not arrive as it should"):
        read_drawing(url, FACADES, 8)


def test_a_drawing_as_long_as_a_film_is_not_decoded() -> None:
    with pytest.raises(DataError, match="did not arrive as it should"):
        read_drawing("data:image/png;base64," + "A" * 100_000, FACADES, 8)
