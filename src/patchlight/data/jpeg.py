"""Damage of JPEG files that decoders pass over in silence, found by their markers (ITU-T T.81, B and E.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SOI, EOI, SOS, DNL, DRI, TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0xDD, 0x01
RESTARTS = range(0xD0, 0xD8)
HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive frames; of others nothing is said."""

AFTER_A_SCAN = frozenset({0xC4, 0xCC, EOI, SOS, 0xDB, DNL, DRI, *range(0xE0, 0xF0), 0xFE})
"""Markers that may end the pixels of a scan: tables, the next scan, the end, and what applications add."""


@dataclass
class Frame:
    """Pixels, blocks of each component per unit (horizontal, vertical), and units between two restarts."""

    width: int
    height: int
    sampling: dict[int, tuple[int, int]]
    interval: int = 0

    def units(self, components: list[int]) -> int:
        """Coded units in a scan of these components (A.2.2, A.2.3)."""
        across = max(h for h, _ in self.sampling.values())
        down = max(v for _, v in self.sampling.values())
        if len(components) > 1:
            return _ceil(self.width, 8 * across) * _ceil(self.height, 8 * down)
        h, v = self.sampling[components[0]]
        return _ceil(_ceil(self.width * h, across), 8) * _ceil(_ceil(self.height * v, down), 8)


def refuse_damaged_jpeg(content: bytes) -> None:
    """Look at the markers of a JPEG file, all of which is in `content`, up to the end of its first image.

    Found are markers that cannot stand where they do and restart markers that are lost or out of order. Damage that
    leaves the markers alone is not seen here.

    Raises:
        ValueError: something is wrong; where, and what.
    """
    try:
        _walk(content)
    except (IndexError, KeyError, ZeroDivisionError):
        # What stands before the pixels is not understood. The decoder has to say whether it does.
        return


def _walk(content: bytes) -> None:
    frame: Frame | None = None
    interval, place, scanned = 0, 2, False
    while place < len(content):
        if content[place] != 0xFF:
            if scanned:
                raise ValueError(f"its pixels are damaged: at byte {place} there is no marker where one is due")
            return
        marker = content[place + 1]
        if marker == 0xFF:  # a byte of padding
            place += 1
            continue
        place += 2
        if marker == EOI:
            return
        if marker in (SOI, TEM, *RESTARTS):
            continue
        segment = content[place + 2 : place + int.from_bytes(content[place : place + 2])]
        place += 2 + len(segment)
        if marker in HUFFMAN_FRAMES:
            frame = _frame(segment)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return
        elif marker == DRI:
            interval = int.from_bytes(segment[:2])
        elif marker == SOS:
            if frame is None or not frame.height:  # the height may come later, as DNL
                return
            frame.interval, scanned = interval, True
            place = _scan(content, place, frame, [segment[1 + 2 * i] for i in range(segment[0])])


def _frame(segment: bytes) -> Frame:
    height, width = int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5])
    parts = (segment[6 + 3 * i : 9 + 3 * i] for i in range(segment[5]))
    return Frame(width, height, {part[0]: (part[1] >> 4, part[1] & 15) for part in parts})


def _scan(content: bytes, begin: int, frame: Frame, components: list[int]) -> int:
    """Go through the pixels of a scan; returns where the marker after them begins, or the end of the file."""
    restarts = 0
    for place, marker in _markers(content, begin):
        if marker not in RESTARTS:
            break
        if not frame.interval or marker != RESTARTS[restarts % 8]:
            raise ValueError(f"its pixels are damaged: restart marker {marker:X} out of order at byte {place}")
        restarts += 1
    else:
        return len(content)  # the decoder says that the file is truncated
    if marker not in AFTER_A_SCAN:
        raise ValueError(f"its pixels are damaged: marker {marker:X} among them at byte {place}")
    due = _ceil(frame.units(components), frame.interval) - 1 if frame.interval else 0
    if restarts not in (due, due + 1):  # some write one more at the end
        raise ValueError(f"its pixels are damaged: {restarts} restart markers instead of {due}")
    return place


def _markers(content: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Markers from there on: a byte of the pixels that is 255 is followed by a zero, and by anything else otherwise."""
    data = np.frombuffer(content, np.uint8)[begin:]
    full = np.flatnonzero(data[:-1] == 255)
    after = data[full + 1]
    found = np.flatnonzero((after != 0) & (after != 255))  # two of 255 are padding before a marker
    return zip((full[found] + begin).tolist(), after[found].tolist(), strict=True)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
