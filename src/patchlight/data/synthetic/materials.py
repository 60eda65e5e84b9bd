"""Surfaces: noise, bricks, plaster, stone and sky, as RGB in [0, 1] with a relief."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Shape = tuple[int, int]

WALL_COLOURS = (
    (0.72, 0.42, 0.32), (0.62, 0.34, 0.27), (0.80, 0.68, 0.48), (0.86, 0.78, 0.62), (0.74, 0.73, 0.70),
    (0.84, 0.62, 0.50), (0.66, 0.72, 0.68), (0.88, 0.84, 0.76), (0.80, 0.55, 0.36), (0.62, 0.66, 0.74),
    (0.90, 0.76, 0.56), (0.70, 0.55, 0.48),
)  # fmt: skip
TRIM_COLOURS = ((0.90, 0.87, 0.80), (0.80, 0.76, 0.68), (0.93, 0.92, 0.90), (0.72, 0.66, 0.58), (0.84, 0.80, 0.70))
WOOD_COLOURS = (
    (0.20, 0.33, 0.27), (0.36, 0.20, 0.13), (0.16, 0.24, 0.38), (0.50, 0.16, 0.14), (0.30, 0.31, 0.33),
    (0.42, 0.50, 0.50), (0.46, 0.34, 0.20), (0.62, 0.62, 0.58),
)  # fmt: skip


def pick(rng: np.random.Generator, colours: tuple[tuple[float, float, float], ...], spread: float = 0.05) -> Image:
    """One of the colours, a little off."""
    colour = np.array(colours[int(rng.integers(len(colours)))], np.float32)
    return np.clip(colour + rng.normal(0, spread, 3).astype(np.float32), 0.05, 0.95)


def noise(rng: np.random.Generator, shape: Shape, cell: float, stretch: float = 1.0) -> Image:
    """Smooth noise with standard deviation 1; `cell` is its grain in pixels, `stretch` how much longer it is down."""
    grid = max(2, int(shape[0] / (cell * stretch)) + 2), max(2, int(shape[1] / cell) + 2)
    values = rng.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def fractal(rng: np.random.Generator, shape: Shape, cell: float, octaves: int = 4) -> Image:
    """Noise over several grains, each half as coarse and half as strong as the one before."""
    finest = cell / 2 ** (octaves - 1)
    reduction = 4 if finest >= 8 else 2 if finest >= 4 else 1  # smooth noise needs no full resolution
    small = -(-shape[0] // reduction), -(-shape[1] // reduction)
    total = np.zeros(small, np.float32)
    for octave in range(octaves):
        total += noise(rng, small, max(cell / reduction / 2**octave, 1.0)) / 2**octave
    if reduction > 1:
        total = np.asarray(cv2.resize(total, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return total / 1.33


def wall(rng: np.random.Generator, shape: Shape, scale: float) -> tuple[Image, Image]:
    """Colour (H W 3) and relief (H W, in pixels) of a wall; `scale` is pixels per unit of the layout."""
    colour = pick(rng, WALL_COLOURS)
    kind = rng.choice(["brick", "plaster", "stone"], p=[0.42, 0.36, 0.22])
    if kind == "brick":
        base, relief = _courses(
            rng, shape, colour, height=4.4 * scale, width=11.5 * scale, joint=0.9 * scale, spread=0.1
        )
    elif kind == "stone":
        base, relief = _courses(
            rng, shape, colour, height=13 * scale, width=30 * scale, joint=0.9 * scale, spread=0.055
        )
    else:
        base, relief = np.broadcast_to(colour, (*shape, 3)).copy(), 0.25 * fractal(rng, shape, 5 * scale)
    weather = 1 + 0.055 * fractal(rng, shape, 60 * scale) + 0.03 * noise(rng, shape, 2 * scale, stretch=14)
    weather += 0.022 * noise(rng, shape, 1.2 * scale)
    return np.clip(base * weather[:, :, None], 0, 1), relief


def _courses(
    rng: np.random.Generator, shape: Shape, colour: Image, height: float, width: float, joint: float, spread: float
) -> tuple[Image, Image]:
    """Blocks in courses, every second one set off by half a block, each of a tint of its own."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] + rng.uniform(0, height)
    x = np.arange(shape[1], dtype=np.float32)[None, :] + rng.uniform(0, width)
    row = np.floor(y / height).astype(np.int32)
    shifted = x + (row % 2) * width / 2
    column = np.floor(shifted / width).astype(np.int32)
    tints = rng.normal(0, spread, (int(row.max()) + 1, int(column.max()) + 1, 3)).astype(np.float32)
    tints = tints.mean(axis=2, keepdims=True) * 1.6 + 0.35 * tints
    blocks = colour * (1 + tints[row, column])
    in_joint = (y % height < joint) | (shifted % width < joint)
    mortar = 0.55 * colour + 0.45 * np.float32(rng.uniform(0.5, 0.8))
    base = np.where(in_joint[:, :, None], mortar, blocks).astype(np.float32)
    return base, np.where(in_joint, -0.8, 0.0).astype(np.float32)


def sky(rng: np.random.Generator, shape: Shape, *, evening: bool) -> Image:
    """A sky (H W 3) with clouds, by day or at dusk."""
    small = _sky(rng, (shape[0] // 2, shape[1] // 2), evening=evening)
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _sky(rng: np.random.Generator, shape: Shape, *, evening: bool) -> Image:
    height = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None, None] ** 0.8
    if evening:
        zenith = np.array([0.10, 0.14, 0.30], np.float32) + rng.normal(0, 0.02, 3).astype(np.float32)
        horizon = np.array([0.86, 0.48, 0.34], np.float32) + rng.normal(0, 0.06, 3).astype(np.float32)
        cloud = np.array([0.62, 0.36, 0.42], np.float32)
        height = np.clip(height * 2.2, 0, 1)
    else:
        zenith = np.array([0.36, 0.57, 0.85], np.float32) + rng.normal(0, 0.04, 3).astype(np.float32)
        horizon = np.array([0.80, 0.88, 0.95], np.float32)
        cloud = np.array([0.97, 0.97, 0.97], np.float32)
        height = np.clip(height * 1.8, 0, 1)
    colour = zenith * (1 - height) + horizon * height
    cover = np.clip(fractal(rng, shape, shape[1] / 3, octaves=5) * 0.9 + rng.uniform(-0.4, 0.3), 0, 1)[:, :, None]
    return np.asarray(np.clip(colour * (1 - 0.8 * cover) + cloud * 0.8 * cover, 0, 1), np.float32)
