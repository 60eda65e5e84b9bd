"""What is around the building: sky, the roof above it, the houses beside it, the street."""

from __future__ import annotations

import cv2
import numpy as np

from patchlight.data.synthetic.canvas import (
    SCHEMES,
    Box,
    Canvas,
    Colour,
    Image,
    Shape,
    Surface,
    courses,
    fractal,
    noise,
    paint,
    ramp,
    wall,
)
from patchlight.data.synthetic.layout import Part, Rng

ROOFS = ((0.36, 0.38, 0.42), (0.62, 0.34, 0.25), (0.46, 0.47, 0.48), (0.55, 0.40, 0.32), (0.42, 0.52, 0.50))
Ramp = tuple[Colour, Colour, Colour]
DAYS: tuple[Ramp, ...] = (
    ((0.36, 0.57, 0.84), (0.58, 0.75, 0.92), (0.83, 0.90, 0.95)),
    ((0.30, 0.52, 0.80), (0.52, 0.70, 0.88), (0.90, 0.91, 0.90)),
    ((0.52, 0.64, 0.78), (0.70, 0.78, 0.86), (0.90, 0.91, 0.92)),
)
DUSKS: tuple[Ramp, ...] = (
    ((0.13, 0.19, 0.40), (0.36, 0.33, 0.54), (0.90, 0.58, 0.48)),
    ((0.11, 0.20, 0.43), (0.28, 0.40, 0.62), (0.86, 0.72, 0.60)),
    ((0.18, 0.18, 0.38), (0.54, 0.34, 0.50), (0.95, 0.60, 0.38)),
    ((0.08, 0.13, 0.31), (0.18, 0.28, 0.50), (0.46, 0.52, 0.66)),
)
"""Colours of the sky as they look in the photo: zenith, half way, horizon."""


def paint_sky(rng: Rng, canvas: Canvas) -> None:
    """A gradient with clouds that are bright where the light reaches them: from above by day, from below at dusk."""
    side = canvas.relief.shape[0]
    rows, columns = side // 4, side // 2  # the lower half is behind the houses
    ramps = DUSKS if canvas.evening else DAYS
    zenith, middle, horizon = (np.array(c) for c in ramps[int(rng.integers(len(ramps)))])
    at = np.linspace(0, 1, rows) ** 0.8
    stops = np.stack([zenith, middle, horizon]) + rng.normal(0, 0.012, (3, 3))
    gradient = np.stack([np.interp(at, [0, 0.4, 1], stops[:, c]) for c in range(3)], axis=1).astype(np.float32)
    step = max(rows // 24, 1)
    density = fractal(rng, (rows + 2 * step, columns), columns / 3.2, octaves=5, stretch=0.5)
    towards_light = density[2 * step :] if canvas.evening else density[:rows]
    density = density[step : rows + step]
    cover = np.clip(1.5 * (density + rng.uniform(-0.55, 0.15)), 0, 1)[:, :, None]
    lit = np.clip(0.55 + 0.9 * (density - towards_light), 0, 1)[:, :, None]
    if canvas.evening:
        bright, dull = 0.75 * horizon + 0.25, 0.5 * zenith + 0.5 * middle
    else:
        bright, dull = np.array([0.99, 0.98, 0.96]), 0.45 * middle + 0.42
    cloud = (lit * bright + (1 - lit) * dull).astype(np.float32)
    look = gradient[:, None] * (1 - 0.85 * cover) + cloud * 0.85 * cover
    scene = canvas.exposed(np.clip(look, 0, 0.97))
    canvas.glow[: side // 2] = cv2.resize(scene, (side, side // 2), interpolation=cv2.INTER_LINEAR)


def paint_neighbours(rng: Rng, canvas: Canvas, facade: Part) -> None:
    """The houses to the left and right, with a few windows, a little further back."""
    box = canvas.box(facade)
    side = canvas.relief.shape[0]
    for left, right in ((0, box.columns.start), (box.columns.stop, side)):
        if right - left < 2:
            continue
        top = int(side * rng.uniform(0.10, 0.46))
        scheme = SCHEMES[int(rng.integers(len(SCHEMES)))]
        house = Box(slice(top, box.rows.stop), slice(left, right))
        albedo, relief = wall(rng, house.size, scheme.kind, paint(rng, scheme.wall) * np.float32(0.7), canvas.unit)
        canvas.cover(house, albedo, -5.0)
        canvas.relief[house] += relief
        canvas.cover(house.within(0, 0, 0.025, 1), paint(rng, scheme.trim) * np.float32(0.8), 0.0)
        pitch, x = canvas.px(rng.uniform(34, 46)), left + canvas.px(rng.uniform(3, 12))
        for y in range(top + canvas.px(14), box.rows.stop - canvas.px(30), pitch):
            pane = Box(slice(y, y + canvas.px(20)), slice(x, min(x + canvas.px(12), right)))
            if pane.columns.stop - pane.columns.start > canvas.px(3):
                canvas.cover(pane.inset(-canvas.px(1)), paint(rng, scheme.trim), -4.6)
                canvas.cover(pane, np.full(3, 0.03, np.float32), -8.0)
                canvas.glow[pane] = np.array([0.01, 0.014, 0.03] if canvas.evening else [0.05, 0.07, 0.1], np.float32)
                if canvas.evening and rng.random() < 0.4:
                    canvas.lamp[pane] = np.array([0.30, 0.15, 0.045], np.float32)


def paint_roof(rng: Rng, canvas: Canvas, facade: Part) -> None:
    """A sloping roof above the cornice, and chimneys on it; some buildings end flat."""
    box = canvas.box(facade)
    if rng.random() < 0.3:
        return
    rise = min(canvas.px(rng.uniform(9, 30)), box.rows.start - canvas.px(5))
    colour = paint(rng, ROOFS[int(rng.integers(len(ROOFS)))])
    side = canvas.relief.shape[1]
    for _ in range(int(rng.integers(0, 4))):
        x = int(rng.uniform(box.columns.start + 0.1 * side, box.columns.stop - 0.15 * side))
        _chimney(rng, canvas, x, box.rows.start - rise)
    area = Box(slice(box.rows.start - rise, box.rows.start + 1), box.columns)
    height, width = area.size
    albedo, relief = _roof(rng, (height, width), colour, canvas.unit)
    slope = rng.uniform(0.25, 0.8) * (height - np.arange(height, dtype=np.float32))[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    mask = np.ones((height, width), bool)
    if area.columns.start > 0:
        mask &= columns >= slope
    if area.columns.stop < side:
        mask &= columns < width - slope
    canvas.albedo[area][mask] = (albedo * ramp(height, 1.15, 0.9))[mask]
    canvas.glow[area][mask] = 0
    canvas.lamp[area][mask] = 0
    canvas.relief[area][mask] = relief[mask]
    ridge = area.within(0, 0, 0.07, 1)
    canvas.albedo[ridge][mask[: ridge.size[0]]] *= np.float32(0.7)


def _roof(rng: Rng, shape: Shape, colour: Image, unit: float) -> Surface:
    """Slates or tiles in rows, or sheets of metal with standing seams."""
    if rng.random() < 0.65:
        albedo, relief = courses(rng, shape, colour, (3.4 * unit, 5.2 * unit), joint=0.6 * unit, spread=0.16)
    else:
        albedo, relief = np.broadcast_to(colour, (*shape, 3)).copy(), np.zeros(shape, np.float32)
        seams = np.arange(shape[1]) % round(9 * unit) < round(0.9 * unit)
        albedo[:, seams] *= np.float32(1.3)
        relief[:, seams] = 0.9 * unit
    return albedo * (1 + 0.12 * fractal(rng, shape, 24 * unit))[:, :, None], relief


def _chimney(rng: Rng, canvas: Canvas, x: int, ridge: int) -> None:
    width, top = canvas.px(rng.uniform(8, 14)), ridge - canvas.px(rng.uniform(4, 11))
    stack = Box(slice(max(top, 0), ridge + canvas.px(8)), slice(x, x + width))
    brick = paint(rng, (0.58, 0.34, 0.27), 0.05)
    albedo, _ = courses(rng, stack.size, brick, (2.6 * canvas.unit, 5 * canvas.unit), 0.6 * canvas.unit, 0.15)
    canvas.cover(stack, albedo, 1.0)
    canvas.cover(stack.within(0, 0, 0.12, 1), brick * np.float32(0.8), 2.0)
    pot = canvas.px(2.2)
    for at in range(x + canvas.px(1), x + width - pot, canvas.px(3.6)):
        if top > canvas.px(4):
            canvas.cover(
                Box(slice(top - canvas.px(3.4), top), slice(at, at + pot)), paint(rng, (0.68, 0.42, 0.30)), 1.0
            )


def paint_street(rng: Rng, canvas: Canvas, facade: Part) -> None:
    """A pavement of slabs, its kerb and a strip of the road."""
    side = canvas.relief.shape[0]
    start = canvas.box(facade)[0].stop
    area = Box(slice(start, side), slice(0, side))
    colour = paint(rng, (0.60, 0.58, 0.55))
    albedo, _ = courses(rng, area.size, colour, (3.2 * canvas.unit, 15 * canvas.unit), 0.5 * canvas.unit, 0.06)
    slabs = canvas.cover(area, albedo, 7.0)
    slabs *= (1 + 0.10 * fractal(rng, area.size, 30 * canvas.unit))[:, :, None]
    kerb = start + int(area.size[0] * 0.62)
    canvas.albedo[kerb : kerb + canvas.px(1.2)] = colour * np.float32(1.3)
    road: Image = canvas.albedo[kerb + canvas.px(1.2) :]
    road[:] = paint(rng, (0.36, 0.36, 0.38)) * (1 + 0.12 * noise(rng, road.shape[:2], canvas.unit))[:, :, None]
    road[: canvas.px(1.4)] *= np.float32(0.5)
    canvas.albedo[start : start + canvas.px(1.0)] *= np.float32(0.6)
