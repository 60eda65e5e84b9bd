"""Palettes to paint with: the classes of a label map, or any colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from patchlight.data.synthetic.layout import LEGEND
from patchlight.errors import ConfigError
from patchlight.inference.translator import Direction

RGB = tuple[int, int, int]
COLOUR = re.compile(r"(?:(?P<name>\S.*?)\s+)?(?P<hex>#[0-9a-fA-F]{6})")
MAX_DISTANCE = 10**9


@dataclass(frozen=True)
class Palette:
    """Colours by name, that of the empty canvas first; in a label map there are no others (`labels`)."""

    colours: Mapping[str, RGB]
    labels: bool

    @property
    def background(self) -> RGB:
        """The colour of the empty canvas."""
        return next(iter(self.colours.values()))

    def snapped(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """H W 3, each pixel in the nearest of the colours: a network of label maps has never seen blends of two."""
        colours = np.array(list(self.colours.values()), np.int32)
        nearest = np.zeros(image.shape[:2], np.intp)
        least = np.full(image.shape[:2], MAX_DISTANCE, np.int32)
        for index, colour in enumerate(colours):
            distance = ((image.astype(np.int32) - colour) ** 2).sum(axis=2)
            closer = distance < least
            nearest[closer], least[closer] = index, distance[closer]
        snapped: NDArray[np.uint8] = colours.astype(np.uint8)[nearest]
        return snapped


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

    The facades have their label maps in domain B, the built-in set has them in A.
    """
    if isinstance(setting, Palette):
        return setting
    if config.data.get("render") is not None and config.data.get("pairing") == "paired":
        return FACADES if direction == "AtoB" else ANY
    name = f"{config.data.get('root', '')} {config.get('task', '')}".lower()
    return FACADES if "facades" in name and direction == "BtoA" else ANY


def to_hex(colour: RGB) -> str:
    """A colour as `#rrggbb`."""
    return "#" + bytes(colour).hex()
