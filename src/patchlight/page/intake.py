"""Input from the page: palettes to draw with, uploaded files and drawings, within limits."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from patchlight.build import data_labels
from patchlight.data.bands import Bands
from patchlight.data.content import Content
from patchlight.data.decoding import values_header
from patchlight.data.labels import class_colours
from patchlight.data.synthetic.layout import LEGEND
from patchlight.errors import ConfigError, DataError
from patchlight.inference.files import read_content, read_pixels, write_pixels
from patchlight.inference.patch_scorer import as_picture
from patchlight.inference.pixels import Pixels
from patchlight.inference.translator import Direction
from patchlight.system.image_file import TooLargeError, open_content, open_image

RGB = tuple[int, int, int]
COLOUR = re.compile(r"(?:(?P<name>\S.*?)\s+)?(?P<hex>#[0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Palette:
    """Colours by name, that of the empty canvas first; in a label map there are no others (`labels`).

    With `classes` their order is that of the classes of a model that reads class indices.
    """

    colours: Mapping[str, RGB]
    labels: bool
    classes: bool = False

    def snapped(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """H W 3, each pixel in the nearest of the colours: a network of label maps has never seen blends of two."""
        snapped: NDArray[np.uint8] = np.array(list(self.colours.values()), np.uint8)[self.nearest(image)]
        return snapped

    def nearest(self, image: NDArray[np.uint8]) -> NDArray[np.intp]:
        """H W, the number of the nearest colour of each pixel."""
        colours = np.array(list(self.colours.values()), np.int32)
        distances = np.stack([((image.astype(np.int32) - colour) ** 2).sum(axis=2) for colour in colours])
        found: NDArray[np.intp] = distances.argmin(axis=0)
        return found


FACADES = Palette(LEGEND, labels=True)
"""The classes of the CMP facades in the colours of the label maps that pix2pix was trained on."""

ANY = Palette(
    {
        "white": (255, 255, 255), "light gray": (190, 190, 190), "gray": (110, 110, 110), "black": (0, 0, 0),
        "red": (204, 41, 41), "orange": (242, 133, 0), "yellow": (248, 218, 60), "green": (62, 142, 65),
        "sky": (126, 192, 238), "blue": (31, 78, 160), "brown": (112, 72, 42), "skin": (232, 184, 148),
    },
    labels=False,
)  # fmt: skip
"""For images that are no label maps."""

Setting = Palette | Literal["auto"]


def parse_palette(value: Literal["auto", "facades"] | Sequence[str] | None) -> Setting:
    """The palette that the key `palette` asks for; `auto` stays open until there is a checkpoint.

    Raises:
        ConfigError: a colour that cannot be understood, the same name twice, or fewer than two colours.
    """
    if value is None:
        return ANY
    if isinstance(value, str):
        return "auto" if value == "auto" else FACADES
    colours: dict[str, RGB] = {}
    for entry in value:
        match = COLOUR.fullmatch(entry.strip())
        if match is None:
            raise ConfigError(f"palette: {entry!r} should be '#rrggbb' or 'NAME #rrggbb', such as 'wall #0030ff'")
        name = match["name"] or match["hex"].lower()
        if name in colours:
            raise ConfigError(f"palette: {name} is there twice: give each colour its own name")
        red, green, blue = bytes.fromhex(match["hex"][1:])
        colours[name] = (red, green, blue)
    if len(colours) < 2:
        raise ConfigError("palette should have two colours or more; the first is that of the empty canvas")
    return Palette(colours, labels=True)


def choose_palette(setting: Setting, config: DictConfig, direction: Direction) -> Palette:
    """The palette for what a network reads in that direction, by the configuration of its training.

    The facades have their label maps in domain B, the built-in set has them in A. A model that reads class indices has
    a colour for each, whatever is asked for.
    """
    if (labels := data_labels(config.data)) is not None:
        colours = {f"class {i}": (r, g, b) for i, (r, g, b) in enumerate(class_colours(labels.n_classes).tolist())}
        return Palette(colours, labels=True, classes=True)
    if isinstance(setting, Palette):
        return setting
    if config.data.get("render") is not None and config.data.get("pairing") == "paired":
        return FACADES if direction == "AtoB" else ANY
    name = f"{config.data.get('root', '')} {config.get('task', '')}".lower()
    return FACADES if "facades" in name and direction == "BtoA" else ANY


def to_hex(colour: RGB) -> str:
    """A colour as `#rrggbb`."""
    return "#" + bytes(colour).hex()


SHOWN_BY_BROWSERS = ("PNG", "JPEG", "WEBP", "GIF")
PREFIX = "data:image/png;base64,"


@dataclass(frozen=True)
class Limits:
    """The largest file, in bytes, and the largest image, in pixels."""

    max_bytes: int
    max_pixels: int

    def __str__(self) -> str:
        return f"{self.max_bytes / 2**20:g} MiB and {self.max_pixels / 1e6:g} megapixels"


def read_upload(path: Path, limits: Limits, content: Content | None = None) -> Pixels:
    """The pixels of an uploaded file; its size and its header are looked at before anything is decoded.

    `content` is what a network reads, None for colours.

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
        width, height, layers = _size_of(path, content)
    except TooLargeError:
        raise DataError(f"The image has too many pixels: at most {_millions(limits)} are allowed.") from None
    except DataError:
        raise DataError("The file cannot be read as an image: give PNG, JPEG, WebP or TIFF.") from None
    if width * height * layers > limits.max_pixels:
        raise DataError(
            f"The image has {width}x{height} pixels ({width * height / 1e6:.1f} million): at most {_millions(limits)} "
            f"are allowed. Scale it down first."
        )
    try:
        return read_pixels(path) if content is None else read_content(path, content)
    except DataError as error:
        raise DataError(f"The file cannot be used: {error}.") from None


def _size_of(path: Path, content: Content | None) -> tuple[int, int, int]:
    """Width, height and, of bands, how many colour images of that size take as much memory."""
    if isinstance(content, Bands):
        header = values_header(path)
        return header.width, header.height, -(-header.channels // 4)
    with open_image(path) as file:
        return *file.size, 1


def showable(path: Path, pixels: Pixels, folder: Path, content: Content | None = None) -> Path:
    """The file itself if browsers can show it, or else a PNG of the same pixels in `folder`.

    Of bands, which `content` describes, the PNG shows those of its `display`.
    """
    if isinstance(content, Bands):
        copy = folder / f"{path.stem}.png"
        as_picture(content.values(pixels.array()), content).save(copy)
        return copy
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
    indices = palette.nearest(array).astype(np.uint8) if palette.classes else None
    return Pixels(palette.snapped(array) if palette.labels else array, indices=indices)


def _millions(limits: Limits) -> str:
    return f"{limits.max_pixels / 1e6:g} million"
