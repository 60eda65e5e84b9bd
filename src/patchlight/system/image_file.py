"""The door at which image files come in: every one is opened here, in one of the formats that are read.

Damage of JPEG files that decoders pass over in silence is found by their markers (ITU-T T.81, B and E.1).
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# The plugins of FORMATS, which Pillow would otherwise look for among all that it has.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from patchlight.errors import DataError

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
"""What is read, by the content of a file and whatever its name says. Pillow knows more, of which some start a program
(EPS: Ghostscript) or are hardly ever read by anybody."""

SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*"),
}
"""How files begin that OpenCV is given, which decides by the same bytes."""


SOI, EOI, SOS, DNL, DRI, TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0xDD, 0x01
RESTARTS = range(0xD0, 0xD8)
HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive frames; of others nothing is said."""

AFTER_A_SCAN = frozenset({0xC4, 0xCC, EOI, SOS, 0xDB, DNL, DRI, *range(0xE0, 0xF0), 0xFE})
"""Markers that may end the pixels of a scan: tables, the next scan, the end, and what applications add."""

NEXT_FILE = b"\n=== next file ===\n"


class TooLargeError(DataError):
    """An image of so many pixels that decoding it may exhaust memory."""


@contextmanager
def open_image(
    path: str | Path, called: str | None = None, advice: str = ": replace or remove it"
) -> Iterator[Image.Image]:
    """An image file, to be decoded within the context. All that goes wrong there becomes one message.

    The message calls the file by its path, or as it is `called`; `advice` is its end.

    Raises:
        DataError: the file is not there, truncated, not of one of the FORMATS, or (TooLargeError) so large that
            decoding it may exhaust memory.
    """
    with one_message(called or str(path), advice):
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise OSError("it is no regular file")
        if found.st_size == 0:
            raise OSError("it has no bytes")
        with Image.open(path, formats=FORMATS) as file:
            _refuse_bombs(file)
            if file.format == "TIFF":
                # Pillow 12 maps one without compression into memory at the size of its turned image, and mixes it up.
                file.filename = ""
            yield file


@contextmanager
def open_content(
    content: bytes | IO[bytes], called: str, formats: tuple[str, ...] = FORMATS, advice: str = ""
) -> Iterator[Image.Image]:
    """An image file's content, in memory or to be read and sought in, to be decoded within the context, as `open_image`
    does.

    Raises:
        DataError: it is truncated, not of one of the formats, or too large.
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    with one_message(called, advice):
        try:
            opened = Image.open(stream, formats=formats)
        except UnidentifiedImageError:  # whose message names the stream
            raise ValueError("cannot identify image file") from None
        with opened as file:
            _refuse_bombs(file)
            yield file


def decode_unchanged(content: bytes, kind: str) -> NDArray[Any] | None:
    """The values of a TIFF or PNG file by OpenCV, of 16 bits where it has them: H W, or H W C as BGR or BGRA.

    OpenCV decides by the content which of its decoders it starts, so it is given nothing else. It turns a TIFF upright
    by itself, and may take a truncated file for a whole one. None where it cannot read the file.
    """
    if not content.startswith(SIGNATURES.get(kind, ())):
        return None
    import cv2  # here, because the report reads images and needs no OpenCV

    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def try_jpegs(paths: Iterable[str]) -> None:
    """Decode JPEG files by OpenCV, small and gray: libjpeg writes to the process's stderr what it had to pass over.

    `NEXT_FILE` is written there after each.
    """
    import cv2

    for path in paths:
        with suppress(Exception):  # what cannot be read at all has been told by Pillow
            content = Path(path).read_bytes()
            if content.startswith(SIGNATURES["JPEG"]):
                cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        os.write(2, NEXT_FILE)


def _refuse_bombs(file: Image.Image) -> None:
    # Pillow only warns here. Its warning is not turned into an error, because entering `catch_warnings` for every image
    # makes Python show every other once-only warning of the run again and again.
    if Image.MAX_IMAGE_PIXELS is not None and file.width * file.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{file.width}x{file.height} pixels")


@contextmanager
def one_message(name: str, advice: str = ": replace or remove it") -> Iterator[None]:
    """Turn whatever goes wrong with an image into one DataError that calls it by its name and ends in the advice."""
    try:
        yield
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TooLargeError(f"{name} is too large to be decoded safely ({error}): scale it down first") from None
    except MemoryError:
        raise DataError(f"{name} needs more memory than there is: scale it down first") from None
    except Exception as error:  # a damaged file makes decoders raise all kinds, struct.error for one
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise DataError(f"{name} cannot be read as an image ({reason or type(error).__name__}){advice}") from None


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
