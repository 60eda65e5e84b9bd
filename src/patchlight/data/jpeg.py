"""Damage of JPEG files that decoders pass over in silence, found by their markers (ITU-T T.81, B and E.1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SOI, EOI, SOS, DNL, DRI, TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0xDD, 0x01
RESTARTS = range(0xD0, 0xD8)
OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Lossless, hierarchical and arithmetic coding, of which nothing is said."""

AFTER_A_SCAN = frozenset({0xC4, 0xCC, EOI, SOS, 0xDB, DNL, DRI, *range(0xE0, 0xF0), 0xFE})
"""Markers that may end the pixels of a scan: tables, the next scan, the end, and what applications add."""


def refuse_damaged_jpeg(content: bytes) -> None:
    """Look at the markers of a JPEG file, all of which is in `content`, up to the end of its first image.

    Markers that cannot stand where they do are found, and restart markers that are out of order, as they are where one
    is lost. Damage that leaves the markers alone is not seen here.

    Raises:
        ValueError: something is wrong; where, and what.
    """
    has_restarts, place, scanned = False, 2, False
    while place + 1 < len(content):
        if content[place] != 0xFF:
            if scanned:
                raise ValueError(f"its pixels are damaged: at byte {place} there is no marker where one is due")
            return  # before the pixels the decoder has to say whether it understands
        marker = content[place + 1]
        if marker == 0xFF:  # a byte of padding
            place += 1
            continue
        place += 2
        if marker == EOI or marker in OTHER_FRAMES:
            return
        if marker in (SOI, TEM, *RESTARTS):
            continue
        segment = content[place + 2 : place + int.from_bytes(content[place : place + 2])]
        place += 2 + len(segment)
        if marker == DRI:
            has_restarts = int.from_bytes(segment[:2]) > 0
        elif marker == SOS:
            place, scanned = _scan(content, place, has_restarts), True


def _scan(content: bytes, begin: int, has_restarts: bool) -> int:
    """Go through the pixels of a scan; returns where the marker after them begins, or the end of the file."""
    restarts = 0
    for place, marker in _markers(content, begin):
        if marker in RESTARTS:
            if not has_restarts or marker != RESTARTS[restarts % 8]:
                raise ValueError(f"its pixels are damaged: restart marker {marker:X} out of order at byte {place}")
            restarts += 1
        elif marker in AFTER_A_SCAN:
            return place
        else:
            raise ValueError(f"its pixels are damaged: marker {marker:X} among them at byte {place}")
    return len(content)  # the decoder says that the file is truncated


def _markers(content: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Markers from there on: a byte of the pixels that is 255 is followed by a zero, and by anything else otherwise."""
    data = np.frombuffer(content, np.uint8)[begin:]
    full = np.flatnonzero(data[:-1] == 255)
    after = data[full + 1]
    found = np.flatnonzero((after != 0) & (after != 255))  # two of 255 are padding before a marker
    return zip((full[found] + begin).tolist(), after[found].tolist(), strict=True)
