"""The door at which image files come in: every one is opened here, in one of the formats that are read."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
            yield file


@contextmanager
def open_content(content: bytes, called: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image file's content, to be decoded within the context, as `open_image` does.

    Raises:
        DataError: it is truncated, not of one of the formats, or too large.
    """
    with one_message(called, ""), Image.open(io.BytesIO(content), formats=formats) as file:
        _refuse_bombs(file)
        yield file


def decode_unchanged(content: bytes, kind: str) -> NDArray[Any] | None:
    """The values of a TIFF or PNG file by OpenCV, of 16 bits where it has them: H W, or H W C as BGR or BGRA.

    OpenCV decides by the content which of its decoders it starts, so it is given nothing else. It turns a TIFF upright
    by itself, and may take a truncated file for a whole one. None where it cannot read the file.
    """
    if not content.startswith(SIGNATURES[kind]):
        return None
    import cv2  # here, because the report reads images and needs no OpenCV

    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def try_jpeg(content: bytes) -> None:
    """Decode a JPEG file by OpenCV, small and gray: libjpeg writes to the process's stderr what it had to pass over."""
    if content.startswith(SIGNATURES["JPEG"]):
        import cv2

        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)


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
