"""From the parts of a facade to its photo: light, cast shadows, evening lamps, camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patchlight.data.synthetic.layout import Facade
from patchlight.data.synthetic.materials import (
    TRIM_COLOURS,
    WALL_COLOURS,
    WOOD_COLOURS,
    Image,
    fractal,
    noise,
    pick,
    sky,
    wall,
)  # fmt: skip
from patchlight.data.synthetic.parts import OVERSAMPLING, PAINTERS, Canvas


def render(rng: np.random.Generator, facade: Facade, *, evening: bool) -> NDArray[np.uint8]:
    """The photo of a facade, H W 3, RGB, as large as its label map."""
    canvas, behind = _paint(rng, facade, evening=evening)
    lit = _light(rng, canvas)
    lit = np.where(behind[:, :, None], canvas.albedo, lit)
    return _develop(rng, lit + canvas.emission, facade.size, canvas)


def _paint(rng: np.random.Generator, facade: Facade, *, evening: bool) -> tuple[Canvas, NDArray[np.bool_]]:
    shape = (facade.size * OVERSAMPLING, facade.size * OVERSAMPLING)
    scale = facade.size / 256 * OVERSAMPLING
    albedo = sky(rng, shape, evening=evening)
    behind = np.ones(shape, bool)
    canvas = Canvas(albedo, np.zeros_like(albedo), np.zeros(shape, np.float32), scale, evening)
    _paint_neighbours(rng, canvas)
    _paint_street(rng, canvas, behind, facade)
    palette = {"trim": pick(rng, TRIM_COLOURS), "wood": pick(rng, WOOD_COLOURS), "frame": pick(rng, TRIM_COLOURS)}
    palette["shutter"] = pick(rng, WOOD_COLOURS)
    if rng.random() < 0.3:
        palette["frame"] = palette["wood"]
    for part in facade.parts:
        rows, columns = canvas.box(part)
        if part.kind == "facade":
            extent = rows.stop - rows.start, columns.stop - columns.start
            canvas.albedo[rows, columns], canvas.relief[rows, columns] = wall(rng, extent, scale)
        else:
            PAINTERS[part.kind](rng, canvas, part, palette)
        behind[rows, columns] = False
    return canvas, behind


def _paint_neighbours(rng: np.random.Generator, canvas: Canvas) -> None:
    """Plain houses beside and behind the building, under the sky."""
    height, width = canvas.relief.shape
    for left, right in ((0, width // 2), (width // 2, width)):
        top = int(height * rng.uniform(0.15, 0.5))
        colour = 0.72 * pick(rng, WALL_COLOURS) * (0.4 if canvas.evening else 1.0)
        texture = 1 + 0.06 * fractal(rng, (height - top, right - left), 30 * canvas.scale)
        canvas.albedo[top:, left:right] = np.clip(colour * texture[:, :, None], 0, 1)


def _paint_street(rng: np.random.Generator, canvas: Canvas, behind: NDArray[np.bool_], facade: Facade) -> None:
    street = max(part.y1 for part in facade.parts if part.kind == "facade") * OVERSAMPLING
    grey = np.float32(rng.uniform(0.38, 0.55) * (0.45 if canvas.evening else 1.0))
    texture = 1 + 0.08 * noise(rng, (canvas.relief.shape[0] - street, canvas.relief.shape[1]), 2 * canvas.scale)
    canvas.albedo[street:] = np.clip(grey * np.array([1.0, 0.98, 0.95], np.float32) * texture[:, :, None], 0, 1)
    canvas.albedo[street : street + round(1.2 * canvas.scale)] *= 0.7


def _light(rng: np.random.Generator, canvas: Canvas) -> Image:
    """Sun with cast shadows and sky light by day; only the dim sky in the evening."""
    relief = canvas.relief
    side = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.35, 0.95))
    reach = cv2.GaussianBlur(relief, (0, 0), 4 * canvas.scale) - relief
    occlusion = 1 - np.clip(reach / (9 * canvas.scale), 0, 0.5)
    slope = cv2.GaussianBlur(relief, (0, 0), 0.6 * canvas.scale)
    tilt = np.clip(np.gradient(slope, axis=0) * 0.16 + np.gradient(slope, axis=1) * 0.12 * side, -0.35, 0.35)
    if canvas.evening:
        ambient = np.array([0.30, 0.33, 0.50], np.float32) * rng.uniform(0.85, 1.15)
        lamps = cv2.GaussianBlur(canvas.emission, (0, 0), 9 * canvas.scale) * 0.55
        light = (ambient + lamps) * (occlusion * (1 + 0.6 * tilt))[:, :, None]
        return np.asarray(canvas.albedo * light, np.float32)
    shadow = _cast_shadow(relief, side, rng.uniform(0.75, 1.25), canvas.scale)
    overcast = rng.uniform(0.0, 0.75)
    sun = np.array([1.0, 0.93, 0.80], np.float32) * (0.78 - 0.45 * overcast)
    ambient = np.array([0.43, 0.48, 0.56], np.float32) * (0.78 + 0.75 * overcast)
    direct = ((1 - shadow) * (1 + tilt))[:, :, None] * sun
    light = direct + ambient * (occlusion * (1 + 0.35 * tilt))[:, :, None]
    return np.asarray(canvas.albedo * light, np.float32)


def _cast_shadow(relief: Image, side: float, drop: float, scale: float) -> Image:
    """How much of the sun each pixel misses: what stands out above and to the side of it is in the way."""
    blocked = np.zeros_like(relief)
    for step in range(1, round(9 * scale) + 1):
        down, across = round(step * drop), round(step * side)
        moved = cv2.warpAffine(
            relief, np.array([[1, 0, across], [0, 1, down]], np.float32), relief.shape[::-1],
            flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        np.maximum(blocked, moved - relief - step * 0.85, out=blocked)
    shadow = np.clip(blocked / (0.8 * scale), 0, 1)
    return np.asarray(cv2.GaussianBlur(shadow, (0, 0), 0.45 * scale), np.float32)


def _develop(rng: np.random.Generator, scene: Image, size: int, canvas: Canvas) -> NDArray[np.uint8]:
    """What the camera makes of it: glare, colour temperature, vignette, contrast, grain."""
    photo = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
    if canvas.evening:
        glare = cv2.resize(canvas.emission, (size, size), interpolation=cv2.INTER_AREA)
        photo = photo + 0.3 * cv2.GaussianBlur(glare, (0, 0), max(size / 48, 0.5))
    temperature = np.float32(rng.normal(0, 0.025))
    photo = photo * np.array([1 + temperature, 1.0, 1 - temperature], np.float32) * np.float32(rng.uniform(0.92, 1.1))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    photo = photo * (1 - 0.13 * (x * x + y * y))[:, :, None]
    photo = np.clip(photo, 0, None)
    photo = photo * (1 + 0.12 * photo) / (1 + 0.26 * photo * photo)
    photo = photo + rng.standard_normal((size, size, 1), dtype=np.float32) * 0.011
    return np.asarray(np.clip(photo * 255 + 0.5, 0, 255), np.uint8)
