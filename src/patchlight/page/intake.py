"""Input from the page: uploaded files and drawings, within limits."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchlight.errors import DataError
from patchlight.inference.files import read_pixels, write_pixels
from patchlight.inference.pixels import Pixels
from patchlight.page.palette import Palette
from patchlight.system.image_file import TooLargeError, open_content, open_image

SHOWN_BY_BROWSERS = ("PNG", "JPEG", "WEBP", "GIF")
PREFIX = "data:image/png;base64,"


@dataclass(frozen=True)
class Limits:
    """The largest file, in bytes, and the largest image, in pixels."""

    max_bytes: int
    max_pixels: int

    def __str__(self) -> str:
        return f"{self.max_bytes / 2**20:g} MiB and {self.max_pixels / 1e6:g} megapixels"


def read_upload(path: Path, limits: Limits) -> Pixels:
    """The pixels of an uploaded file; its size and its header are looked at before anything is decoded.

    Raises:
        DataError: the file is gone, no image, damaged, or beyond the limits.
    """
    try:
        size = path.stat().st_size
    except OSError:
        raise DataError("The uploaded file is not there any more: upload it again.") from None
    if size > limits.max_bytes:
        raise DataError(f"The file has {size / 2**20:.1f} MiB: at most {limits.max_bytes / 2**20:g} are allowed.")
    try:
        with open_image(path) as file:
            width, height = file.size
    except TooLargeError:
        raise DataError(f"The image has too many pixels: at most {_millions(limits)} are allowed.") from None
    except DataError:
        raise DataError("The file cannot be read as an image: give PNG, JPEG, WebP or TIFF.") from None
    if width * height > limits.max_pixels:
        raise DataError(
            f"The image has {width}x{height} pixels ({width * height / 1e6:.1f} million): at most {_millions(limits)} "
            f"are allowed. Scale it down first."
        )
    try:
        return read_pixels(path)
    except DataError as error:
        raise DataError(f"The file cannot be used: {error}.") from None


def showable(path: Path, pixels: Pixels, folder: Path) -> Path:
    """The file itself if browsers can show it, or else a PNG of the same pixels in `folder`."""
    with open_image(path) as file:
        if file.format in SHOWN_BY_BROWSERS:
            return path
    copy = folder / f"{path.stem}.png"
    write_pixels(copy, pixels)
    return copy


def read_drawing(url: str, palette: Palette, side: int) -> Pixels:
    """The pixels of the canvas, `side` by `side`; of a label map each is in one of its colours.

    Raises:
        DataError: it is not what the canvas sends.
    """
    try:
        if not url.startswith(PREFIX) or len(url) > 8 * side * side + 4096:
            raise ValueError
        data = base64.b64decode(url.removeprefix(PREFIX), validate=True)
        with open_content(data, "the drawing", formats=("PNG",)) as image:
            if image.size != (side, side):
                raise ValueError
            array = np.array(image.convert("RGB"))
    except ValueError:  # of which DataError and binascii.Error are kinds
        raise DataError("The drawing did not arrive as it should: reload the page and draw again.") from None
    return Pixels(palette.snapped(array) if palette.labels else array)


def _millions(limits: Limits) -> str:
    return f"{limits.max_pixels / 1e6:g} million"
