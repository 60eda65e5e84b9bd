"""A scene under construction: what reflects light, what gives it off, and how far each pixel stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from patchlight.data.synthetic.layout import Facade, Part
from patchlight.data.synthetic.materials import Image

Box = tuple[slice, slice]
"""Rows and columns of a canvas."""


@dataclass(frozen=True)
class Finish:
    """What a building looks like whatever its layout: reflected light per material, and styles."""

    trim: Image
    frame: Image
    wood: Image
    shutter: Image
    iron: Image
    awning: Image
    panes: Literal["cross", "casement", "sash", "transom"]
    surround: bool
    flowers: bool
    stone_railing: bool
    curtains: float


@dataclass
class Canvas:
    """Linear RGB (H W 3) of what a surface reflects (`albedo`), of the sky and what mirrors it (`glow`) and of lamps;
    `relief` (H W) in pixels. `factor` is pixels per pixel of the label map, `unit` per unit of the layout."""

    albedo: Image
    glow: Image
    lamp: Image
    relief: Image
    factor: int
    unit: float
    evening: bool

    @staticmethod
    def blank(facade: Facade, *, evening: bool) -> Canvas:
        """A dark canvas of 512 pixels, about: small pictures are scaled down from large ones too."""
        factor = min(max(512 // facade.size, 2), 4)
        side = facade.size * factor
        albedo, glow, lamp = (np.zeros((side, side, 3), np.float32) for _ in range(3))
        relief = np.zeros((side, side), np.float32)
        return Canvas(albedo, glow, lamp, relief, factor, facade.unit * factor, evening)

    def box(self, part: Part) -> Box:
        f = self.factor
        return slice(part.y0 * f, part.y1 * f), slice(part.x0 * f, part.x1 * f)

    def px(self, units: float, minimum: int = 1) -> int:
        """A length of the layout in whole pixels."""
        return max(minimum, round(units * self.unit))

    def cover(self, box: Box, colour: Image, out: float) -> Image:
        """Lay an opaque surface over a box, `out` units out of the wall; returns its albedo, to be painted on."""
        self.albedo[box] = colour
        self.glow[box] = 0
        if self.evening:
            self.lamp[box] = 0
        self.relief[box] = out * self.unit
        return self.albedo[box]

    def outline(self, box: Box, colour: Image, out: float, width: int) -> None:
        """A frame along the inner side of a box."""
        rows, columns = box
        for side in (
            (slice(rows.start, rows.start + width), columns),
            (slice(rows.stop - width, rows.stop), columns),
            (rows, slice(columns.start, columns.start + width)),
            (rows, slice(columns.stop - width, columns.stop)),
        ):
            self.cover(side, colour, out)


def size(box: Box) -> tuple[int, int]:
    """Height and width of a box."""
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def within(box: Box, top: float, left: float, bottom: float, right: float) -> Box:
    """The part of a box between fractions of its height and width; at least one pixel."""
    (y, x), (height, width) = (box[0].start, box[1].start), size(box)
    y0, x0 = y + int(height * top), x + int(width * left)
    y1, x1 = max(y + int(height * bottom), y0 + 1), max(x + int(width * right), x0 + 1)
    return slice(y0, y1), slice(x0, x1)


def inset(box: Box, by: int) -> Box:
    """A box without a border of `by` pixels, or an outset one where `by` is negative; never empty, never above 0."""
    y0, x0 = max(box[0].start + by, 0), max(box[1].start + by, 0)
    return slice(y0, max(box[0].stop - by, y0 + 1)), slice(x0, max(box[1].stop - by, x0 + 1))


def ramp(length: int, start: float, stop: float) -> Image:
    """A gradient down a column, ready to multiply H W 3."""
    return np.linspace(start, stop, length, dtype=np.float32)[:, None, None]


def grid(height: int, width: int) -> tuple[Image, Image]:
    """Rows (H 1) and columns (1 W) of a box as fractions, in [0, 1)."""
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(1 / height)
    return y, np.arange(width, dtype=np.float32)[None, :] * np.float32(1 / width)
