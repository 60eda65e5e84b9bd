"""JPEG files whole and damaged: what their markers tell."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchlight.system.image_file import refuse_damaged_jpeg

PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)).resize((130, 90))
)


def jpeg(mode: str = "RGB", kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, kind, quality=90, **options)
    return stream.getvalue()


def reads(content: bytes) -> bool:
    """Whether Pillow decodes it without a word."""
    Image.open(io.BytesIO(content)).load()
    return True


def pixels_of(content: bytes) -> tuple[int, int]:
    """Where the pixels of the last scan begin and end."""
    begin = content.rindex(b"\xff\xda") + 2
    begin += int.from_bytes(content[begin : begin + 2])
    return begin, content.rindex(b"\xff\xd9")


WHOLE: dict[str, bytes] = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "4:4:4": jpeg(subsampling=0),
    "4:2:2": jpeg(subsampling=1, optimize=True),
    "gray": jpeg("L"),
    "CMYK": jpeg("CMYK"),
    "restarts": jpeg(restart_marker_blocks=3),
    "restarts by rows": jpeg(restart_marker_rows=1),
    "progressive with restarts": jpeg(progressive=True, restart_marker_rows=1),
    "progressive gray with restarts": jpeg("L", progressive=True, restart_marker_blocks=7),
    "several photos": jpeg(kind="MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
    "with a profile and a comment": jpeg(icc_profile=bytes(70_000), comment=b"\xff\xd9\xff\x01"),
    "more after the end": jpeg() + b"\xff\x01junk\xff\xd0" * 9,
    "padding before a marker": jpeg().replace(b"\xff\xda", b"\xff\xff\xff\xda", 1)[:-2] + b"\xff\xff\xd9",
    "a restart at the end": jpeg(restart_marker_blocks=35)[:-2] + b"\xff\xd1\xff\xd9",
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole(name: str) -> None:
    assert reads(WHOLE[name])
    refuse_damaged_jpeg(WHOLE[name])


def with_bytes(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def test_markers_among_the_pixels() -> None:
    for name in ("baseline", "progressive", "4:4:4", "gray"):
        begin, end = pixels_of(WHOLE[name])
        for marker in (0x01, 0x02, 0x4F, 0xBF, 0xC0, 0xD8, 0xF7):
            damaged = with_bytes(WHOLE[name], (begin + end) // 2, bytes([0xFF, marker]))
            if marker == 0x01:  # others stop some versions of libjpeg, too
                assert reads(damaged)
            with pytest.raises(ValueError, match=rf"its pixels are damaged: marker {marker:X} among them at byte \d"):
                refuse_damaged_jpeg(damaged)
        damaged = with_bytes(WHOLE[name], (begin + end) // 2, b"\xff\xd3")
        assert reads(damaged)
        with pytest.raises(ValueError, match="restart marker D3 out of order at byte"):
            refuse_damaged_jpeg(damaged)
        damaged = with_bytes(WHOLE[name], (begin + end) // 2, b"\xff\xe1\0\x05")
        assert reads(damaged)
        with pytest.raises(ValueError, match="there is no marker where one is due"):
            refuse_damaged_jpeg(damaged)


@pytest.mark.parametrize("name", ["restarts", "restarts by rows", "progressive with restarts"])
def test_restarts_are_counted(name: str) -> None:
    content = WHOLE[name]
    places = [m.start() for m in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    middle = places[len(places) // 2]
    swapped = with_bytes(content, middle, bytes([0xFF, content[middle + 1] ^ 3]))
    with pytest.raises(ValueError, match=r"restart marker D\d out of order"):
        refuse_damaged_jpeg(swapped)
    last = with_bytes(content, places[-1], b"\x55\x55")
    with pytest.raises(
        ValueError, match=r"its pixels are damaged: (\d+ restart markers instead of \d+|restart marker)"
    ):
        refuse_damaged_jpeg(last)


def test_what_cannot_be_understood_is_left_to_the_decoder() -> None:
    rng = np.random.default_rng(0)
    refuse_damaged_jpeg(b"\xff\xd8\xff")
    for name in ("baseline", "restarts", "progressive"):
        content = WHOLE[name]
        for length in (2, 3, 21, 100, 300, len(content) // 2, len(content) - 1):
            refuse_damaged_jpeg(content[:length])
        begin, _ = pixels_of(content)
        for _ in range(200):
            damaged = bytearray(content)
            for place in rng.integers(2, begin, 3):
                damaged[place] = rng.integers(256)
            said = "its pixels are damaged: "
            try:
                refuse_damaged_jpeg(bytes(damaged))
            except ValueError as error:
                said = str(error)
            assert said.startswith("its pixels are damaged: ")
