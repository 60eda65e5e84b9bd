"""Light and camera: sun, sky, cast shadows, lamps at dusk; tone curve, colour temperature, vignette, grain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patchlight.data.synthetic.canvas import Canvas
from patchlight.data.synthetic.materials import Image

DAY_EXPOSURE, DUSK_EXPOSURE = 1.45, 2.3


def exposed(look: Image, *, evening: bool) -> Image:
    """The scene's linear light that the camera turns into the colour `look`, in [0, 1)."""
    exposure = DUSK_EXPOSURE if evening else DAY_EXPOSURE
    return np.asarray(-np.log1p(-(look**2)) / exposure, np.float32)


def light(rng: np.random.Generator, canvas: Canvas) -> Image:
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


def _dusk(rng: np.random.Generator, canvas: Canvas, open_sky: Image, side: float) -> Image:
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


def photograph(rng: np.random.Generator, canvas: Canvas, scene: Image, size: int) -> NDArray[np.uint8]:
    """What the camera makes of the light of a scene: H W 3, RGB."""
    photo = np.asarray(cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    if canvas.evening:
        lamps = cv2.resize(canvas.lamp, (size, size), interpolation=cv2.INTER_AREA)
        photo += np.float32(0.11) * cv2.GaussianBlur(lamps, (0, 0), max(size / 40, 0.6))
        photo += np.float32(0.05) * cv2.GaussianBlur(lamps, (0, 0), max(size / 140, 0.4))
    x = np.linspace(-1, 1, size, dtype=np.float32)
    photo *= (1 - 0.16 * (x[None, :] ** 2 + x[:, None] ** 2))[:, :, None]
    warmth = rng.normal(0, 0.035)
    exposure = (DUSK_EXPOSURE if canvas.evening else DAY_EXPOSURE) * rng.uniform(0.92, 1.1)
    photo *= np.array([1 + warmth, 1.0, 1 - warmth], np.float32) * np.float32(exposure)
    photo = np.sqrt(1 - np.exp(-photo))
    photo += 0.35 * photo * (1 - photo) * (2 * photo - 1)  # a little contrast
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * 0.010
    photo += grain * (1.15 - photo)
    return np.asarray(np.clip(photo * 255 + 0.5, 0, 255), np.uint8)
