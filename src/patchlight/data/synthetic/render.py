"""From the parts of a facade to its photo: paint, light (sun, sky, shadows, lamps at dusk), and the camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patchlight.data.synthetic.canvas import SCHEMES, Box, Canvas, Finish, Image, Scheme, courses, noise, paint, wall
from patchlight.data.synthetic.layout import Facade, Part, Rng, draw_facade
from patchlight.data.synthetic.openings import lantern, paint_door, paint_shop, paint_window, surround
from patchlight.data.synthetic.ornaments import (
    flower_box,
    paint_balcony,
    paint_band,
    paint_blind,
    paint_cornice,
    paint_deco,
    paint_pillar,
)
from patchlight.data.synthetic.surroundings import paint_neighbours, paint_roof, paint_sky, paint_street

_PAINTERS = {
    "cornice": paint_cornice, "molding": paint_band, "sill": paint_band, "deco": paint_deco, "pillar": paint_pillar,
    "blind": paint_blind, "balcony": paint_balcony, "window": paint_window, "door": paint_door, "shop": paint_shop,
}  # fmt: skip
_STAINED_BELOW = {"sill": 26.0, "molding": 16.0, "cornice": 34.0, "balcony": 24.0}
"""How far rain carries dirt down the wall below a part, in units."""


def render_pair(rng: Rng, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Label map and photo of a building, each H W 3, RGB."""
    facade = draw_facade(rng, size)
    return facade.label_map(), render(rng, facade, evening=False)


def render_scene(rng: Rng, size: int, *, evening: bool) -> NDArray[np.uint8]:
    """The photo of a building by day or in the evening, H W 3, RGB."""
    return render(rng, draw_facade(rng, size), evening=evening)


def render(rng: Rng, facade: Facade, *, evening: bool) -> NDArray[np.uint8]:
    """The photo of a facade, H W 3, RGB, as large as its label map."""
    canvas = Canvas(facade, evening=evening)
    scheme = SCHEMES[int(rng.integers(len(SCHEMES)))]
    finish = Finish(rng, scheme)
    building = next(part for part in facade.parts if part.kind == "facade")
    paint_sky(rng, canvas)
    paint_neighbours(rng, canvas, building)
    paint_roof(rng, canvas, building)
    paint_street(rng, canvas, building)
    _paint_wall(rng, canvas, facade, building, scheme)
    for part in facade.parts:
        if finish.surround and part.kind in ("window", "door"):
            surround(rng, canvas, part, finish)
        if part.kind in _PAINTERS:
            _PAINTERS[part.kind](rng, canvas, part, finish)
    lanterns = rng.random() < (0.85 if evening else 0.5)
    for part in facade.parts:
        if part.kind == "door" and lanterns:
            lantern(canvas, part)
        if part.kind == "sill" and finish.flowers and rng.random() < 0.75:
            box = canvas.box(part).within(0, 0.1, 1, 0.9)
            flower_box(rng, canvas, box, box.rows.start)
    return photograph(rng, canvas, light(rng, canvas), facade.size)


def _paint_wall(rng: Rng, canvas: Canvas, facade: Facade, building: Part, scheme: Scheme) -> None:
    """The wall, often with a ground floor of rusticated stone, a plinth, and stains below what keeps off the rain."""
    box = canvas.box(building)
    albedo, relief = wall(rng, box.size, scheme.kind, paint(rng, scheme.wall), canvas.unit)
    canvas.cover(box, albedo, 0.0)
    canvas.relief[box] = relief
    doors = [part for part in facade.parts if part.kind == "door"]
    base = [part for part in facade.parts if part.kind == "molding" and part.y1 < doors[0].y0 + 8 * facade.unit]
    if base and scheme.kind != "boards" and rng.random() < 0.5:
        top = base[0].y0 * canvas.factor
        stone = Box(slice(top, box.rows.stop), box.columns)
        colour = paint(rng, scheme.trim) * np.float32(rng.uniform(0.6, 0.95))
        blocks, joints = courses(
            rng, stone.size, colour, (8.5 * canvas.unit, 22 * canvas.unit), joint=1.1 * canvas.unit, spread=0.06
        )
        canvas.cover(stone, blocks, 0.6)
        canvas.relief[stone] += joints
    _stain(rng, canvas, facade, box)
    plinth = Box(slice(box.rows.stop - canvas.px(rng.uniform(4, 9)), box.rows.stop), box.columns)
    grain: Image = 1 + 0.08 * noise(rng, plinth.size, 2 * canvas.unit)
    canvas.cover(plinth, paint(rng, (0.50, 0.49, 0.47)) * grain[:, :, None], 1.4)


def _stain(rng: Rng, canvas: Canvas, facade: Facade, wall_box: Box) -> None:
    strength = rng.uniform(0.05, 0.32)
    streaks = np.clip(0.5 + 0.9 * noise(rng, wall_box.size, 1.8 * canvas.unit, stretch=24), 0, 1.4)
    dirt = np.zeros_like(streaks)
    for part in facade.parts:
        if part.kind in _STAINED_BELOW:
            rows, columns = canvas.box(part)
            y, x = rows.stop - wall_box.rows.start, max(columns.start - wall_box.columns.start, 0)
            reach = canvas.px(_STAINED_BELOW[part.kind])
            below = dirt[max(y, 0) : max(y + reach, 0), x : max(columns.stop - wall_box.columns.start, 0)]
            below[:] = np.maximum(below, np.linspace(1, 0, reach, dtype=np.float32)[: below.shape[0], None])
    foot = np.linspace(-9, 1, dirt.shape[0], dtype=np.float32)[:, None]
    dirt = np.maximum(dirt, np.clip(foot, 0, 1))
    dirt *= streaks
    for channel, share in enumerate((0.96, 1.0, 1.06)):  # dirt is a little yellow
        canvas.albedo[:, :, channel][wall_box] *= 1 - np.float32(strength * share) * dirt


def light(rng: Rng, canvas: Canvas) -> Image:
    """The light that leaves each pixel towards the camera, linear RGB, H W 3."""
    relief, unit = canvas.relief, canvas.unit
    side = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.45, 1.0))
    crevice = np.clip((_blur(relief, 1.6 * unit) - relief) / (9 * unit), 0, 0.42)
    crevice += np.clip((_blur(relief, 6 * unit) - relief) / (9 * unit), 0, 0.42)
    open_sky = 1 - np.minimum(crevice, 0.7)
    slope = _blur(relief, 0.5 * unit)
    down = np.clip(cv2.Sobel(slope, cv2.CV_32F, 0, 1, ksize=1, scale=0.25), -0.5, 0.5)  # > 0 where it faces the sky
    across = np.clip(cv2.Sobel(slope, cv2.CV_32F, 1, 0, ksize=1, scale=0.2 * side), -0.5, 0.5)
    if canvas.evening:
        return _dusk(rng, canvas, open_sky * (1 + 0.5 * down), side)
    shadow = _cast_shadow(relief, side, rng.uniform(0.75, 1.3), unit)
    haze = 0.75 * rng.random() ** 2
    direct = (1 - 0.7 * haze) * (1 - shadow) * (1 + down + across)
    indirect = (0.68 + 0.8 * haze) * open_sky * (1 + 0.6 * down)
    bounce = np.broadcast_to(np.linspace(0, 0.22, relief.shape[0], dtype=np.float32)[:, None] ** 1.5, relief.shape)
    total = _mix((direct, (1.14, 0.98, 0.76)), (indirect, (0.33, 0.40, 0.52)), (bounce, (1.0, 0.9, 0.75)))
    return canvas.albedo * total + canvas.glow


def _dusk(rng: Rng, canvas: Canvas, open_sky: Image, side: float) -> Image:
    """The blue of the sky, the last light from one side, street lamps from below, and what windows and lamps spill."""
    height, width = canvas.relief.shape
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    sky = rng.uniform(0.8, 1.35) * open_sky
    last = rng.uniform(0.1, 1.2) * (1 - side * x) * open_sky
    pole, strength = rng.uniform(-0.4, 0.4), rng.uniform(0.12, 0.30)
    street = strength * np.exp(-y / 0.2) * (0.45 + np.exp(-(((x - pole) / 0.3) ** 2))) * open_sky
    total = _mix((sky, (0.052, 0.080, 0.168)), (last, (0.075, 0.036, 0.034)), (street, (1.0, 0.56, 0.22)))
    small = np.asarray(cv2.resize(canvas.lamp, (width // 4, height // 4), interpolation=cv2.INTER_AREA), np.float32)
    spill = 0.5 * _blur(small, 3.5 * canvas.unit / 4) + 0.9 * _blur(small, 13 * canvas.unit / 4)
    spill = np.asarray(cv2.resize(spill, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    facing_out = np.clip(1 + canvas.relief / (2.6 * canvas.unit), 0.16, 1)  # a lit room leaves its window's bars dark
    total += spill * facing_out[:, :, None]
    return canvas.albedo * total + canvas.glow + canvas.lamp


def _mix(*lights: tuple[Image, tuple[float, float, float]]) -> Image:
    """The sum of lights of one colour each, H W 3."""
    channels = [sum((np.float32(colour[c]) * amount for amount, colour in lights), np.float32(0)) for c in range(3)]
    return np.asarray(cv2.merge([np.asarray(c, np.float32) for c in channels]), np.float32)


def _blur(image: Image, sigma: float) -> Image:
    """Gaussian blur; a wide one is computed on a smaller image."""
    if sigma < 6:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _cast_shadow(relief: Image, side: float, drop: float, unit: float) -> Image:
    """How much of the sun each pixel misses, in [0, 1].

    What stands `h` pixels out of a surface shades it `h * side` to the side and `h * drop` below.
    """
    height, width = relief.shape
    deepest = int(np.ceil(12 * unit))
    blocked = np.zeros_like(relief)
    for step in range(1, deepest + 1, 1 if unit < 1.5 else 2):
        down, across = round(step * drop), round(step * side)
        target = blocked[down:, max(across, 0) : width + min(across, 0)]
        source = relief[: height - down, max(-across, 0) : width + min(-across, 0)]
        np.maximum(target, source - relief[down:, max(across, 0) : width + min(across, 0)] - step * 0.92, out=target)
    shadow = np.clip(blocked / (0.6 * unit), 0, 1)
    return np.asarray(cv2.GaussianBlur(shadow, (0, 0), 0.5 * unit), np.float32)


def photograph(rng: Rng, canvas: Canvas, scene: Image, size: int) -> NDArray[np.uint8]:
    """What the camera makes of the light of a scene: H W 3, RGB."""
    photo = np.asarray(cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    if canvas.evening:
        lamps = cv2.resize(canvas.lamp, (size, size), interpolation=cv2.INTER_AREA)
        photo += np.float32(0.11) * cv2.GaussianBlur(lamps, (0, 0), max(size / 40, 0.6))
        photo += np.float32(0.05) * cv2.GaussianBlur(lamps, (0, 0), max(size / 140, 0.4))
    x = np.linspace(-1, 1, size, dtype=np.float32)
    photo *= (1 - 0.16 * (x[None, :] ** 2 + x[:, None] ** 2))[:, :, None]
    warmth = rng.normal(0, 0.035)
    exposure = canvas.exposure * rng.uniform(0.92, 1.1)
    photo *= np.array([1 + warmth, 1.0, 1 - warmth], np.float32) * np.float32(exposure)
    photo = np.sqrt(1 - np.exp(-photo))
    photo += 0.35 * photo * (1 - photo) * (2 * photo - 1)  # a little contrast
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * 0.010
    photo += grain * (1.15 - photo)
    return np.asarray(np.clip(photo * 255 + 0.5, 0, 255), np.uint8)
