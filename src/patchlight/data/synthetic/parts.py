"""The parts of a facade as materials: cornices, windows, doors, shops, balconies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchlight.data.synthetic.layout import Part
from patchlight.data.synthetic.materials import WALL_COLOURS, WOOD_COLOURS, Image, noise, pick

OVERSAMPLING = 2
"""A scene is computed at this many times its size and scaled down."""

PROTRUSION = {"cornice": 8.0, "molding": 2.6, "sill": 3.4, "deco": 1.6, "pillar": 2.4, "blind": 1.2, "shop": -2.5,
              "window": -3.2, "door": -3.6}  # fmt: skip
"""How far a part stands out of the wall, in pixels of the label map."""


@dataclass
class Canvas:
    """A scene under construction, at the oversampled size: albedo and light given off (H W 3), relief (H W)."""

    albedo: Image
    emission: Image
    relief: Image
    scale: float
    evening: bool

    def box(self, part: Part) -> tuple[slice, slice]:
        s = OVERSAMPLING
        return slice(part.y0 * s, part.y1 * s), slice(part.x0 * s, part.x1 * s)


Palette = dict[str, Image]


def _fill(canvas: Canvas, part: Part, colour: Image, relief: float | None = None) -> tuple[slice, slice]:
    box = canvas.box(part)
    canvas.albedo[box] = colour
    canvas.relief[box] = (PROTRUSION[part.kind] if relief is None else relief) * canvas.scale
    return box


def _paint_profile(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    """A cornice, molding, sill or lintel: a band of stone whose profile turns towards the sky and away from it."""
    box = _fill(canvas, part, palette["trim"])
    height, width = canvas.relief[box].shape
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    profile = 1.06 - 0.32 * y + 0.08 * np.sin(y * np.pi * (5 if part.kind == "cornice" else 2))
    grain = 1 + 0.04 * noise(rng, (height, width), 1.5 * canvas.scale)
    canvas.albedo[box] = np.clip(canvas.albedo[box] * (profile * grain)[:, :, None], 0, 1)
    if part.kind == "cornice":
        step = max(4, round(4.2 * canvas.scale))
        dentils = canvas.albedo[box][int(height * 0.55) : int(height * 0.88)]
        for x in range(0, width, step):
            dentils[:, x : x + step // 2] *= 0.62
    if part.kind == "deco" and width > height * 2:
        middle, half = width // 2, max(2, height // 2)
        canvas.albedo[box][:, middle - half : middle + half] *= np.float32(1.1)


def _paint_pillar(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    box = _fill(canvas, part, 0.96 * palette["trim"])
    x = np.linspace(-1, 1, canvas.relief[box].shape[1], dtype=np.float32)[None, :, None]
    canvas.albedo[box] *= 0.82 + 0.22 * np.cos(x * 1.3) - 0.06 * x
    rows = canvas.relief[box].shape[0]
    cap = max(2, min(rows // 12, round(3 * canvas.scale)))
    for end in (slice(0, cap), slice(rows - cap, rows)):
        canvas.albedo[box][end] *= np.float32(1.12)


def _paint_shutter(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    box = _fill(canvas, part, palette["shutter"])
    height = canvas.relief[box].shape[0]
    pitch = max(3.0, 2.1 * canvas.scale)
    louvres = 0.78 + 0.3 * ((np.arange(height, dtype=np.float32) % pitch) / pitch)[:, None, None]
    canvas.albedo[box] *= louvres
    _outline(canvas, box, palette["shutter"] * 1.12, max(1, round(0.7 * canvas.scale)))


def _glass(rng: np.random.Generator, canvas: Canvas, box: tuple[slice, slice], lit: float) -> None:
    """A pane: a dark room, the sky mirrored in it, a curtain; lamps behind it in the evening."""
    height, width = canvas.relief[box].shape
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    room = np.array([0.10, 0.115, 0.14], np.float32) * rng.uniform(0.6, 1.3)
    mirror = np.clip(0.52 - 0.55 * y + 0.28 * np.sin(3 * (x + 0.7 * y) + rng.uniform(0, 6)), 0, 1) * rng.uniform(
        0.3, 0.85
    )
    tint = np.array([0.30, 0.26, 0.34] if canvas.evening else [0.62, 0.74, 0.88], np.float32)
    strength = mirror[:, :, None] * (0.35 if canvas.evening else 0.8)
    pane = room * (1 - strength) + tint * strength
    if rng.random() < 0.55:
        reach = rng.uniform(0.16, 0.4)
        folds = 0.82 + 0.14 * np.sin(x * width / canvas.scale * 1.7 + rng.uniform(0, 6))
        curtain = ((x < reach) | (x > 1 - reach))[:, :, None] * np.ones_like(y)[:, :, None]
        cloth = folds[:, :, None] * np.array([0.72, 0.70, 0.66], np.float32) * (0.35 if canvas.evening else 0.8)
        pane = np.where(curtain > 0, 0.3 * pane + 0.7 * cloth, pane)
    canvas.albedo[box] = np.clip(pane, 0, 1)
    if lit > 0:
        warmth = np.array([1.0, rng.uniform(0.62, 0.78), rng.uniform(0.28, 0.46)], np.float32)
        lamp = np.exp(-((x - rng.uniform(0.3, 0.7)) ** 2 / 0.25 + (y - rng.uniform(0.15, 0.5)) ** 2 / 0.4))
        glow = (0.42 + 0.58 * lamp)[:, :, None] * warmth * lit
        canvas.emission[box] = glow * np.clip(0.35 + 1.4 * pane / (pane.mean() + 1e-3), 0.4, 1.5)


def _outline(canvas: Canvas, box: tuple[slice, slice], colour: Image, width: int) -> None:
    for inner in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
        canvas.albedo[box][inner] = np.clip(colour, 0, 1)
        canvas.emission[box][inner] = 0


def _bars(canvas: Canvas, box: tuple[slice, slice], colour: Image, rows: list[float], columns: list[float]) -> None:
    """Glazing bars at fractions of the height and width."""
    height, width = canvas.relief[box].shape
    thick = max(1, round(0.85 * canvas.scale))
    for at in rows:
        y = int(height * at)
        canvas.albedo[box][y : y + thick] = colour
        canvas.emission[box][y : y + thick] = 0
    for at in columns:
        x = int(width * at) - thick // 2
        canvas.albedo[box][:, x : x + thick] = colour
        canvas.emission[box][:, x : x + thick] = 0


def _paint_window(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    box = _fill(canvas, part, palette["frame"])
    lit = rng.uniform(0.65, 1.0) if canvas.evening and rng.random() < 0.62 else 0.0
    _glass(rng, canvas, box, lit)
    height, width = canvas.relief[box].shape
    columns = [0.5] if width < 34 * canvas.scale else [0.34, 0.67]
    _bars(canvas, box, palette["frame"], [0.33] if height > 1.15 * width else [0.5], columns)
    _outline(canvas, box, palette["frame"], max(1, round(1.35 * canvas.scale)))


def _paint_door(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    box = _fill(canvas, part, palette["wood"])
    height, width = canvas.relief[box].shape
    transom = int(height * 0.2)
    pane = box[0].start, box[0].start + transom
    _glass(rng, canvas, (slice(*pane), box[1]), 0.9 if canvas.evening else 0.0)
    _bars(canvas, (slice(*pane), box[1]), palette["frame"], [], [0.33, 0.67])
    leaf = canvas.albedo[box][transom:]
    leaf *= (1 + 0.05 * noise(rng, leaf.shape[:2], canvas.scale, stretch=10))[:, :, None]
    for x0, x1 in ((0.1, 0.44), (0.56, 0.9)):
        for y0, y1 in ((0.08, 0.5), (0.58, 0.92)):
            panel = leaf[int(leaf.shape[0] * y0) : int(leaf.shape[0] * y1), int(width * x0) : int(width * x1)]
            edge = max(1, round(0.8 * canvas.scale))
            panel *= np.float32(0.86)
            panel[:edge] *= np.float32(0.6)
            panel[-edge:] *= np.float32(1.35)
    middle, gap = width // 2, max(1, round(0.4 * canvas.scale))
    leaf[:, middle - gap : middle + gap] *= np.float32(0.45)
    _outline(canvas, box, palette["trim"], max(1, round(1.5 * canvas.scale)))


def _paint_shop(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    """A shop front: sign, striped awning, a wide window with goods in it."""
    box = _fill(canvas, part, palette["wood"])
    height, width = canvas.relief[box].shape
    sign, awning = int(height * 0.16), int(height * 0.36)
    start = box[0].start
    colour = pick(rng, WOOD_COLOURS, 0.1)
    canvas.albedo[start : start + sign, box[1]] = colour
    letters = noise(rng, (sign, width), 1.6 * canvas.scale) > 0.7
    band = slice(int(sign * 0.3), max(int(sign * 0.3) + 1, int(sign * 0.72)))
    text = canvas.albedo[start : start + sign, box[1]][band, int(width * 0.2) : int(width * 0.8)]
    text[letters[band, int(width * 0.2) : int(width * 0.8)]] = np.clip(colour + 0.5, 0, 0.95)
    pane = (slice(start + sign, box[0].stop - int(height * 0.1)), slice(box[1].start, box[1].stop))
    _glass(rng, canvas, pane, 1.0 if canvas.evening else 0.12)
    for _ in range(int(rng.integers(5, 12))):
        x, y = int(rng.integers(width)), int(height * rng.uniform(0.6, 0.86))
        r = max(1, int(canvas.scale * rng.uniform(1, 3)))
        goods = canvas.albedo[box][max(y - r, 0) : y + r, max(x - r, 0) : x + r]
        goods[:] = 0.5 * goods + 0.5 * rng.uniform(0.2, 0.9, 3).astype(np.float32)
    _bars(canvas, pane, palette["wood"], [], [0.33, 0.67])
    _outline(canvas, pane, palette["wood"], max(1, round(1.4 * canvas.scale)))
    if rng.random() < 0.7:
        stripe = max(2, round(3.6 * canvas.scale))
        stripes = (np.arange(width) // stripe % 2)[None, :, None]
        cloth = np.where(stripes, pick(rng, WALL_COLOURS, 0.12), np.array([0.93, 0.91, 0.86], np.float32))
        shade = np.linspace(1.05, 0.7, awning - sign, dtype=np.float32)[:, None, None]
        rows = slice(start + sign, start + awning)
        canvas.albedo[rows, box[1]] = cloth * shade
        canvas.emission[rows, box[1]] = 0
        canvas.relief[rows, box[1]] = 7 * canvas.scale


def _paint_balcony(rng: np.random.Generator, canvas: Canvas, part: Part, palette: Palette) -> None:
    """A slab with a railing of thin bars, through which one sees what is behind it."""
    box = canvas.box(part)
    height, width = canvas.relief[box].shape
    slab = max(2, round(3 * canvas.scale))
    iron = np.array([0.12, 0.12, 0.13], np.float32)
    bars = np.zeros((height, width), bool)
    pitch, thick = max(3, round(2.6 * canvas.scale)), max(1, round(0.7 * canvas.scale))
    bars[:, np.arange(width) % pitch < thick] = True
    for y in (0, int((height - slab) * 0.82)):
        bars[y : y + round(1.1 * canvas.scale) + 1] = True
    bars[-slab:] = False
    canvas.albedo[box][bars] = iron
    canvas.emission[box][bars] = 0
    canvas.albedo[box][-slab:] = palette["trim"] * np.linspace(1.05, 0.7, slab, dtype=np.float32)[:, None, None]
    canvas.emission[box][-slab:] = 0
    canvas.relief[box][bars] = 6 * canvas.scale
    canvas.relief[box][-slab:] = 8 * canvas.scale


PAINTERS: dict[str, Callable[[np.random.Generator, Canvas, Part, Palette], None]] = {
    "cornice": _paint_profile, "molding": _paint_profile, "sill": _paint_profile, "deco": _paint_profile,
    "pillar": _paint_pillar, "blind": _paint_shutter, "window": _paint_window, "door": _paint_door,
    "shop": _paint_shop, "balcony": _paint_balcony,
}  # fmt: skip
"""How to paint a part of each class but the wall and what is behind it."""
