"""What stands out of the wall: cornices, moldings, crowns of windows, pillars, shutters, balconies, flowers."""

from __future__ import annotations

import numpy as np

from patchlight.data.synthetic.canvas import Box, Canvas, Finish, noise, ramp
from patchlight.data.synthetic.layout import Part, Rng

FLOWERS = ((0.62, 0.06, 0.08), (0.72, 0.22, 0.32), (0.80, 0.74, 0.70), (0.50, 0.20, 0.52), (0.78, 0.46, 0.06))


def paint_cornice(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """Steps that reach further out towards the top, over a row of brackets."""
    box = canvas.box(part)
    _stone(rng, canvas, box, finish, 1.0)
    width = box.size[1]
    for y0, y1, out in ((0.0, 0.2, 9.0), (0.2, 0.42, 7.5), (0.42, 0.82, 3.6), (0.82, 1.0, 2.0)):
        band = box.within(y0, 0, y1, 1)
        canvas.relief[band] = out * canvas.unit
        canvas.albedo[band] *= ramp(band.size[0], 1.06, 0.9)
    pitch, thick = canvas.px(rng.uniform(4.2, 8.5)), canvas.px(rng.uniform(1.8, 2.6))
    brackets = np.arange(width) % pitch < thick
    row = box.within(0.42, 0, 0.82, 1)
    canvas.relief[row][:, brackets] = 6.4 * canvas.unit
    canvas.albedo[row][:, ~brackets] *= np.float32(0.62)


def paint_band(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A molding or sill: a rounded edge above, a fillet below."""
    box = canvas.box(part)
    _stone(rng, canvas, box, finish, 1.0)
    height = box.size[0]
    out = np.interp(np.linspace(0, 1, height), [0, 0.2, 0.6, 1], [2.6, 3.6, 3.2, 1.4]).astype(np.float32)
    canvas.relief[box] = (out * canvas.unit)[:, None]
    canvas.albedo[box] *= ramp(height, 1.08, 0.84)


def paint_deco(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A lintel with a keystone, a pediment, a framed panel, or a frieze of rosettes."""
    box = canvas.box(part)
    height, width = box.size
    if part.variant == "pediment":
        _pediment(rng, canvas, box, finish)
        return
    _stone(rng, canvas, box, finish, 1.0)
    if part.variant == "lintel":
        canvas.relief[box.within(0, 0, 0.34, 1)] = 3.2 * canvas.unit
        half = max(1.6 * canvas.unit / width, 0.05)
        key = box.within(0, 0.5 - half, 1, 0.5 + half)
        canvas.relief[key] = 3.6 * canvas.unit
        canvas.albedo[key] *= np.float32(1.08)
        return
    canvas.relief[box.inset(canvas.px(1.0))] = 0.2 * canvas.unit
    pitch = height * 1.15 if part.variant == "frieze" else float(width)
    y = (np.arange(height, dtype=np.float32)[:, None] - height / 2 + 0.5) / (height / 2)
    x = np.arange(width, dtype=np.float32)[None, :] / pitch
    x = (x - np.floor(x) - 0.5) * pitch / (height / 2)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    petals = radius < 0.58 + 0.14 * np.cos(6 * angle)
    canvas.relief[box] += np.where(petals, 1.6 * np.cos(np.clip(radius, 0, 1.2)) * canvas.unit, 0).astype(np.float32)
    canvas.albedo[box] *= np.where(petals, 1.05, 0.88).astype(np.float32)[:, :, None]


def _pediment(rng: Rng, canvas: Canvas, box: Box, finish: Finish) -> None:
    """A low gable; beside it the wall stays as it is."""
    height, width = box.size
    x = np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    base = 0.74
    inside = (y > x * base) | (y >= base)
    rim = inside & ((y < x * base + 0.26) | (y >= base))
    colour = finish.trim * (1 + 0.06 * noise(rng, (height, width), 1.5 * canvas.unit))[:, :, None]
    canvas.albedo[box][inside] = colour[inside] * np.float32(0.86)
    canvas.albedo[box][rim] = colour[rim]
    canvas.relief[box][inside] = 1.0 * canvas.unit
    canvas.relief[box][rim] = 3.4 * canvas.unit


def paint_pillar(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A pilaster with capital, base and flutes, or corner stones, long and short in turn."""
    box = canvas.box(part)
    height, width = box.size
    _stone(rng, canvas, box, finish, 2.2)
    if part.variant == "quoins":
        pitch = 9.0 * canvas.unit
        y = np.arange(height, dtype=np.float32)
        course = (y // pitch).astype(np.int32)
        tint = rng.normal(1, 0.07, course[-1] + 1).astype(np.float32)[course]
        joint = y % pitch < 0.9 * canvas.unit
        canvas.albedo[box] *= np.where(joint, 0.55, tint)[:, None, None].astype(np.float32)
        canvas.relief[box] = np.where(joint, 0.2, 1.5 + 0.9 * (course % 2))[:, None].astype(np.float32) * canvas.unit
        return
    x = np.linspace(-1, 1, width, dtype=np.float32)
    flutes = np.cos(x * np.pi * 3) if width > 5 * canvas.unit else np.cos(x * np.pi / 2)
    canvas.relief[box] += (0.5 * canvas.unit * flutes)[None, :]
    canvas.albedo[box] *= (0.94 + 0.08 * flutes)[None, :, None]
    cap = min(height // 5, canvas.px(4.5)) / height
    for end in (box.within(0, 0, cap, 1), box.within(1 - cap, 0, 1, 1)):
        canvas.relief[end] = 3.4 * canvas.unit
        canvas.albedo[end] *= ramp(end.size[0], 1.14, 0.95)


def paint_blind(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A shutter leaf with louvres, or a roller blind that is half down."""
    box = canvas.box(part)
    height, width = box.size
    roller = part.variant == "roller"
    colour = 0.35 * finish.shutter + 0.65 * finish.frame if roller else finish.shutter
    slats = canvas.cover(box, colour, -1.8 if roller else 1.3)
    pitch = (1.5 if roller else 2.0) * canvas.unit
    phase = (np.arange(height, dtype=np.float32) % pitch) / pitch
    slats *= (0.62 + 0.5 * phase)[:, None, None]
    slats *= (1 + 0.05 * noise(rng, (height, width), 3 * canvas.unit))[:, :, None]
    if roller:
        canvas.cover(box.within(0.92, 0, 1, 1), colour * np.float32(0.8), -1.4)
        return
    thick = canvas.px(0.9)
    canvas.outline(box, colour * np.float32(1.12), 1.9, thick)
    canvas.cover(box.within(0.48, 0, 0.52, 1), colour * np.float32(1.12), 1.9)


def paint_balcony(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A slab on brackets with an iron railing, or stone balusters, through which one sees what is behind."""
    box = canvas.box(part)
    height, width = box.size
    slab = min(canvas.px(3.2), height // 3)
    rail = Box(slice(box.rows.start, box.rows.stop - slab), box.columns)
    x, y = np.arange(width), np.linspace(0, 1, rail.size[0], dtype=np.float32)[:, None]
    top, foot = canvas.px(1.5) / rail.size[0], canvas.px(0.8) / rail.size[0]
    if finish.stone_railing:
        pitch = 4.2 * canvas.unit
        u = np.abs((x % pitch) / pitch - 0.5)[None, :]
        bars = u < 0.17 + 0.13 * np.sin(np.pi * (1.15 * y + 0.1)) ** 2 - 0.08 * (y < 0.3)
        bars = bars | (y < 1.5 * top) | (y > 1 - 1.5 * foot)
        colour = finish.trim
    else:
        pitch = 2.7 * canvas.unit
        u = np.abs((x % pitch) / pitch - 0.5)[None, :]
        curl = np.abs(np.hypot((u - 0.5) * 2 * pitch, (y - 0.5) * rail.size[0]) - 0.42 * pitch)
        bars = (u < 0.13) | (curl < 0.32 * canvas.unit) | (y < top) | (y > 1 - foot)
        colour = finish.iron
    canvas.albedo[rail][bars] = colour
    for plane in (canvas.glow, canvas.lamp):
        plane[rail][bars] = 0
    canvas.relief[rail][bars] = 6.5 * canvas.unit
    plate = Box(slice(box.rows.stop - slab, box.rows.stop), box.columns)
    _stone(rng, canvas, plate, finish, 8.0)
    canvas.albedo[plate] *= ramp(slab, 1.1, 0.8)
    if finish.flowers and rng.random() < 0.6:
        flower_box(rng, canvas, rail.within(0, 0.06, 1, 0.94), box.rows.start + canvas.px(1.0), hanging=True)


def flower_box(rng: Rng, canvas: Canvas, box: Box, y: int, *, hanging: bool = False) -> None:
    """Leaves and flowers along row y: tufts that stand up, and more that hang down where they may."""
    (left, right), unit = (box.columns.start, box.columns.stop), canvas.unit
    rise, fall = 2.6 * unit, (3.2 if hanging else 1.2) * unit
    rows = slice(max(int(y - rise * 1.5), 0), min(int(y + fall * 1.5), canvas.relief.shape[0]))
    area = Box(rows, slice(left, right))
    shape = area.size
    distance = (np.arange(rows.start, rows.stop, dtype=np.float32) - y)[:, None]
    reach = np.where(distance < 0, -distance / rise, distance / fall)
    tuft = noise(rng, shape, 1.6 * unit) * 0.55 + noise(rng, (1, shape[1]), 4 * unit) * 0.3
    leaf = reach < 0.8 + tuft
    shade = np.clip(0.75 + 0.5 * noise(rng, shape, 0.9 * unit), 0.25, 1.6)[:, :, None]
    green = np.array([0.10, 0.20, 0.055], np.float32) * shade
    colour = np.array(FLOWERS[int(rng.integers(len(FLOWERS)))], np.float32)
    bloom = leaf & (noise(rng, shape, 1.25 * unit) > 0.62)
    canvas.albedo[area][leaf] = green[leaf]
    canvas.albedo[area][bloom] = colour * np.clip(shade, 0.7, 1.3)[bloom]
    for plane in (canvas.glow, canvas.lamp):
        plane[area][leaf] = 0
    canvas.relief[area][leaf] = (5.0 if not hanging else 8.0) * unit


def _stone(rng: Rng, canvas: Canvas, box: Box, finish: Finish, out: float) -> None:
    """A block of the building's trim."""
    grain = 1 + 0.05 * noise(rng, box.size, 1.4 * canvas.unit) + 0.06 * noise(rng, box.size, 20 * canvas.unit)
    canvas.cover(box, finish.trim * grain[:, :, None], out)
