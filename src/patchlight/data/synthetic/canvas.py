"""A scene under construction, and its surfaces: noise, bricks, plaster, stone, boards and roofs, with a relief."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from patchlight.data.synthetic.layout import Facade, Part, Rng

Image = NDArray[np.float32]
Shape = tuple[int, int]
Colour = tuple[float, float, float]
Surface = tuple[Image, Image]
WallKind = Literal["brick", "plaster", "stone", "boards"]

DAY_EXPOSURE, DUSK_EXPOSURE = 1.45, 2.3


class Box(NamedTuple):
    """Rows and columns of a canvas, by which its arrays can be indexed."""

    rows: slice
    columns: slice

    @property
    def size(self) -> Shape:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def within(self, top: float, left: float, bottom: float, right: float) -> Box:
        """The part between fractions of the height and width; at least one pixel."""
        height, width = self.size
        y0, x0 = self.rows.start + int(height * top), self.columns.start + int(width * left)
        y1 = max(self.rows.start + int(height * bottom), y0 + 1)
        x1 = max(self.columns.start + int(width * right), x0 + 1)
        return Box(slice(y0, y1), slice(x0, x1))

    def inset(self, by: int) -> Box:
        """The box without a border of `by` pixels, or outset where `by` is negative; never empty, never above 0."""
        y0, x0 = max(self.rows.start + by, 0), max(self.columns.start + by, 0)
        return Box(slice(y0, max(self.rows.stop - by, y0 + 1)), slice(x0, max(self.columns.stop - by, x0 + 1)))


class Canvas:
    """A dark canvas of 512 pixels, about: small pictures are scaled down from large ones too.

    Linear RGB (H W 3) of what a surface reflects (`albedo`), of the sky and what mirrors it (`glow`) and of lamps;
    `relief` (H W) in pixels. `factor` is pixels per pixel of the label map, `unit` per unit of the layout.
    """

    def __init__(self, facade: Facade, *, evening: bool) -> None:
        self.factor = min(max(512 // facade.size, 2), 4)
        side = facade.size * self.factor
        self.albedo, self.glow, self.lamp = (np.zeros((side, side, 3), np.float32) for _ in range(3))
        self.relief = np.zeros((side, side), np.float32)
        self.unit = facade.unit * self.factor
        self.evening = evening
        self.exposure = DUSK_EXPOSURE if evening else DAY_EXPOSURE

    def exposed(self, look: Image) -> Image:
        """The scene's linear light that the camera turns into the colour `look`, in [0, 1)."""
        return np.asarray(-np.log1p(-(look**2)) / self.exposure, np.float32)

    def box(self, part: Part) -> Box:
        f = self.factor
        return Box(slice(part.y0 * f, part.y1 * f), slice(part.x0 * f, part.x1 * f))

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
            Box(slice(rows.start, rows.start + width), columns),
            Box(slice(rows.stop - width, rows.stop), columns),
            Box(rows, slice(columns.start, columns.start + width)),
            Box(rows, slice(columns.stop - width, columns.stop)),
        ):
            self.cover(side, colour, out)


def ramp(length: int, start: float, stop: float) -> Image:
    """A gradient down a column, ready to multiply H W 3."""
    return np.linspace(start, stop, length, dtype=np.float32)[:, None, None]


def grid(height: int, width: int) -> tuple[Image, Image]:
    """Rows (H 1) and columns (1 W) of a box as fractions, in [0, 1)."""
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(1 / height)
    return y, np.arange(width, dtype=np.float32)[None, :] * np.float32(1 / width)


@dataclass(frozen=True)
class Scheme:
    """Colours that go together, as they look in even light, in [0, 1]."""

    kind: WallKind
    wall: Colour
    trim: Colour
    frame: Colour
    wood: Colour
    shutter: Colour


_CREAM, _WHITE, _IVORY = (0.90, 0.85, 0.74), (0.93, 0.92, 0.89), (0.95, 0.92, 0.84)
_PINE, _NAVY, _WINE, _OAK = (0.16, 0.30, 0.25), (0.15, 0.22, 0.36), (0.44, 0.14, 0.14), (0.50, 0.34, 0.20)
_SLATE, _SAGE, _COAL, _DUCK = (0.36, 0.43, 0.50), (0.44, 0.54, 0.45), (0.20, 0.21, 0.23), (0.22, 0.42, 0.46)

SCHEMES = (
    Scheme("brick", (0.68, 0.37, 0.28), _CREAM, _IVORY, _PINE, _PINE),
    Scheme("brick", (0.76, 0.62, 0.44), _WHITE, _WHITE, _NAVY, _SLATE),
    Scheme("brick", (0.58, 0.35, 0.28), (0.78, 0.70, 0.58), _IVORY, _COAL, _COAL),
    Scheme("brick", (0.76, 0.45, 0.32), _CREAM, _WHITE, _DUCK, _DUCK),
    Scheme("brick", (0.84, 0.80, 0.74), (0.70, 0.66, 0.60), _COAL, _OAK, _SLATE),
    Scheme("plaster", (0.83, 0.55, 0.40), _CREAM, _IVORY, _PINE, _SAGE),
    Scheme("plaster", (0.89, 0.73, 0.45), _IVORY, _WHITE, _OAK, _PINE),
    Scheme("plaster", (0.87, 0.68, 0.63), _WHITE, _WHITE, _WINE, _SLATE),
    Scheme("plaster", (0.66, 0.77, 0.78), _WHITE, _WHITE, _NAVY, _DUCK),
    Scheme("plaster", (0.91, 0.86, 0.75), (0.80, 0.72, 0.58), _IVORY, _OAK, _SAGE),
    Scheme("plaster", (0.72, 0.77, 0.62), _IVORY, _WHITE, _WINE, _PINE),
    Scheme("plaster", (0.57, 0.65, 0.76), _WHITE, _WHITE, _WINE, _NAVY),
    Scheme("plaster", (0.78, 0.42, 0.34), _CREAM, _IVORY, _COAL, _SAGE),
    Scheme("stone", (0.84, 0.77, 0.64), (0.89, 0.83, 0.71), _WHITE, _NAVY, (0.78, 0.77, 0.73)),
    Scheme("stone", (0.72, 0.70, 0.66), (0.82, 0.80, 0.75), _WHITE, _PINE, _SLATE),
    Scheme("stone", (0.78, 0.64, 0.49), (0.86, 0.76, 0.62), _IVORY, _WINE, _DUCK),
    Scheme("boards", (0.55, 0.66, 0.70), _WHITE, _WHITE, _WINE, _NAVY),
    Scheme("boards", (0.90, 0.88, 0.82), _WHITE, _WHITE, _COAL, _PINE),
    Scheme("boards", (0.66, 0.31, 0.26), _IVORY, _WHITE, _PINE, _COAL),
)


AWNINGS = ((0.62, 0.16, 0.15), (0.16, 0.34, 0.28), (0.18, 0.27, 0.46), (0.78, 0.56, 0.22), (0.50, 0.50, 0.48))


def paint(rng: Rng, colour: Colour, spread: float = 0.03) -> Image:
    """A colour, a little off, as the share of light that it reflects: gamma 2 stands in for the sRGB curve."""
    offset = rng.normal(0, spread) + rng.normal(0, 0.6 * spread, 3)
    return np.asarray(np.clip(np.array(colour) + offset, 0.05, 0.95) ** 2, np.float32)


def noise(rng: Rng, shape: Shape, cell: float, stretch: float = 1.0) -> Image:
    """Smooth noise with standard deviation about 0.7; `cell` is its grain in pixels, times `stretch` downwards."""
    grid = max(2, int(shape[0] / (cell * stretch)) + 2), max(2, int(shape[1] / cell) + 2)
    values = rng.standard_normal(grid, dtype=np.float32)
    smooth = cv2.INTER_CUBIC if cell > 4 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=smooth), np.float32)


def fractal(rng: Rng, shape: Shape, cell: float, octaves: int = 4, stretch: float = 1.0) -> Image:
    """Noise over several grains, each half as coarse and half as strong as the one before."""
    finest = cell * min(stretch, 1.0) / 2 ** (octaves - 1)
    reduction = 4 if finest >= 8 else 2 if finest >= 4 else 1  # smooth noise needs no full resolution
    small = -(-shape[0] // reduction), -(-shape[1] // reduction)
    total = np.zeros(small, np.float32)
    for octave in range(octaves):
        total += noise(rng, small, max(cell / reduction / 2**octave, 1.0), stretch) / 2**octave
    if reduction > 1:
        total = np.asarray(cv2.resize(total, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return total / 1.33


def wall(rng: Rng, shape: Shape, kind: WallKind, colour: Image, unit: float) -> Surface:
    """Albedo (H W 3) and relief (H W, pixels) of a wall; `unit` is pixels per unit of the layout."""
    if kind == "brick":
        albedo, relief = courses(rng, shape, colour, (4.0 * unit, 10.5 * unit), joint=0.75 * unit, spread=0.2)
    elif kind == "stone":
        albedo, relief = courses(rng, shape, colour, (13 * unit, 29 * unit), joint=0.8 * unit, spread=0.09)
    elif kind == "boards":
        albedo, relief = _boards(rng, shape, colour, pitch=5.2 * unit)
    else:
        grain = fractal(rng, shape, 6 * unit, octaves=3)
        albedo, relief = colour * (1 + 0.05 * grain)[:, :, None], 0.16 * unit * grain
    weather = 1 + 0.10 * fractal(rng, shape, 70 * unit) + 0.05 * noise(rng, shape, 2.2 * unit, stretch=16)
    weather += 0.04 * noise(rng, shape, 1.1 * unit)
    albedo *= weather[:, :, None]
    return np.clip(albedo, 0.004, 0.94, out=albedo), relief


def courses(rng: Rng, shape: Shape, colour: Image, block: tuple[float, float], joint: float, spread: float) -> Surface:
    """Blocks of `block` (height, width) pixels in courses that are set off, each of a tint of its own."""
    height, width = block
    y = np.arange(shape[0], dtype=np.float32) + rng.uniform(0, height)
    row = np.floor(y / height).astype(np.int32)
    offsets = (np.arange(row[-1] + 1) % 2) * width / 2 + rng.normal(0, 0.06 * width, row[-1] + 1) + width
    x = np.arange(shape[1], dtype=np.float32)[None, :] + offsets.astype(np.float32)[row][:, None]
    column = (x / width).astype(np.int32)
    tints = rng.normal(0, spread, (int(row[-1]) + 1, int(column.max()) + 1)).astype(np.float32)
    tints = np.maximum(tints - 1.2 * spread * (rng.random(tints.shape) < 0.08), -2.4 * spread)  # a few burnt ones
    hue = rng.normal(0, spread / 3, tints.shape).astype(np.float32)
    shade, warm = tints[row[:, None], column], hue[row[:, None], column]
    in_joint = np.maximum((y % height < joint)[:, None], x - column * width < joint)
    mortar = (0.5 * colour + 0.5 * np.float32(rng.uniform(0.24, 0.5))) * np.float32(0.92)
    albedo = np.empty((*shape, 3), np.float32)
    for channel, weight in enumerate((1.0, 0.0, -1.0)):
        albedo[:, :, channel] = np.where(in_joint, mortar[channel], colour[channel] * (1 + shade + weight * warm))
    return albedo, np.where(in_joint, np.float32(-0.9 * joint), joint * shade).astype(np.float32)


def _boards(rng: Rng, shape: Shape, colour: Image, pitch: float) -> Surface:
    """Painted boards, each lapped over the one below it."""
    y = np.arange(shape[0], dtype=np.float32) + rng.uniform(0, pitch)
    row = (y / pitch).astype(np.int32)
    tints = rng.normal(0, 0.05, row[-1] + 1).astype(np.float32)
    lap = (y % pitch) / pitch
    shade = (1 + tints[row]) * np.where(lap < 0.16, 0.55, 1.0) * (0.94 + 0.1 * lap)
    grain = 1 + 0.05 * noise(rng, shape, 14.0, stretch=0.08)
    albedo = colour * (shade.astype(np.float32)[:, None] * grain)[:, :, None]
    return albedo, np.broadcast_to((1.1 * lap).astype(np.float32)[:, None], shape).copy()


class Finish:
    """What a building looks like whatever its layout: reflected light per material, and styles."""

    def __init__(self, rng: Rng, scheme: Scheme) -> None:
        frame, self.wood = paint(rng, scheme.frame), paint(rng, scheme.wood)
        self.trim = paint(rng, scheme.trim)
        self.frame = self.wood if rng.random() < (0.6 if sum(scheme.wall) < 1.45 else 0.2) else frame
        self.shutter = paint(rng, scheme.shutter)
        self.iron = paint(rng, (0.16, 0.17, 0.18))
        self.awning = paint(rng, AWNINGS[int(rng.integers(len(AWNINGS)))])
        self.panes = ("cross", "casement", "sash", "transom")[int(rng.integers(4))]
        self.surround = rng.random() < 0.62
        self.flowers = rng.random() < 0.32
        self.stone_railing = rng.random() < 0.25
        self.curtains = rng.uniform(0.1, 0.6)
