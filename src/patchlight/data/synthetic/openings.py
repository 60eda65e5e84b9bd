"""What one looks into: glass with a room behind it and the sky in it, windows, doors, shop fronts."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from patchlight.data.synthetic.canvas import Box, Canvas, Colour, Finish, Image, grid, noise, paint, ramp
from patchlight.data.synthetic.layout import Part, Rng

SIGNS = (
    "BOULANGERIE", "CAFE", "BOOKS", "FLEURS", "TABAC", "ATELIER", "OPTIK", "TEA ROOM", "GALERIE", "BISTRO", "RECORDS",
    "PATISSERIE", "TAILOR", "ANTIQUES", "KAFFEE", "VINO", "PAPETERIE", "COFFEE", "MARKET", "BARBER",
)  # fmt: skip
PANES = {"cross": (2, [0.5]), "casement": (2, [0.36, 0.68]), "sash": (3, [0.25, 0.5, 0.75]), "transom": (2, [0.3])}
"""Columns of a window, and where its bars are as fractions of its height."""

SHOP_COLOURS: tuple[Colour, ...] = (
    (0.14, 0.28, 0.24), (0.14, 0.20, 0.34), (0.46, 0.13, 0.13), (0.18, 0.18, 0.20), (0.60, 0.46, 0.26),
    (0.30, 0.50, 0.50), (0.82, 0.78, 0.70), (0.42, 0.26, 0.16),
)  # fmt: skip


def paint_window(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A recessed window: a room and curtains, panes that each mirror the sky a little differently, a frame."""
    box = canvas.box(part)
    _room(rng, canvas, box, finish, _lamp(rng) if canvas.evening and rng.random() < 0.6 else None)
    height, width = box.size
    columns, rows = PANES[finish.panes]
    columns += width > 1.15 * height
    if width < 15 * canvas.unit and finish.panes != "sash":
        columns = 1 if width < 10 * canvas.unit else 2
    ys, xs = [0.0, *rows, 1.0], np.linspace(0, 1, columns + 1)
    for y0, y1 in pairwise(ys):
        for x0, x1 in pairwise(xs):
            _mirror(rng, canvas, box.within(y0, x0, y1, x1), 1.0)
    _grid(canvas, box, finish.frame, ys[1:-1], list(xs[1:-1]), canvas.px(0.75))
    if finish.panes == "sash":
        _grid(canvas, box, finish.frame, [0.5], [], canvas.px(1.5))
    canvas.outline(box, finish.frame, -2.4, canvas.px(1.1))


def surround(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """The flat stone frame around an opening."""
    box = canvas.box(part).inset(-canvas.px(2))
    shape = canvas.relief[box].shape
    grain = 1 + 0.06 * noise(rng, shape, 1.5 * canvas.unit)
    canvas.albedo[box] = finish.trim * grain[:, :, None]
    canvas.relief[box] = 0.9 * canvas.unit


def paint_door(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A panelled door of one or two leaves under a fanlight, with a stone step."""
    box = canvas.box(part)
    width = box.size[1]
    canvas.cover(box, finish.wood, -3.6)
    light = box.within(0, 0, 0.2, 1)
    _room(rng, canvas, light, finish, (0.8, 0.44, 0.16) if canvas.evening else None, curtains=False)
    _mirror(rng, canvas, light, 0.9)
    _grid(canvas, light, finish.wood, [], [0.33, 0.67], canvas.px(0.7))
    leaf = box.within(0.2, 0, 0.97, 1)
    canvas.albedo[leaf] *= (1 + 0.1 * noise(rng, leaf.size, canvas.unit, stretch=12))[:, :, None]
    leaves = [(0.08, 0.47), (0.53, 0.92)] if width > 15 * canvas.unit else [(0.14, 0.86)]
    for x0, x1 in leaves:
        for y0, y1 in ((0.06, 0.34), (0.39, 0.66), (0.72, 0.93)):
            panel = leaf.within(y0, x0, y1, x1)
            canvas.relief[panel] -= 0.7 * canvas.unit
            canvas.albedo[panel] *= np.float32(0.9)
            raised = panel.inset(canvas.px(1.0))
            canvas.relief[raised] += 0.5 * canvas.unit
            canvas.albedo[raised] *= np.float32(1.2)
    if len(leaves) == 2:
        canvas.albedo[leaf.within(0, 0.485, 1, 0.515)] *= np.float32(0.25)
    knob = leaf.within(0.5, 0.56 if len(leaves) == 2 else 0.8, 0.54, 0.61 if len(leaves) == 2 else 0.86)
    canvas.cover(knob, np.array([0.75, 0.55, 0.22], np.float32), -2.6)
    canvas.outline(box, finish.wood * np.float32(0.8), -2.8, canvas.px(1.2))
    canvas.cover(box.within(0.965, 0, 1, 1), finish.trim * np.float32(0.8), 1.0)


def lantern(canvas: Canvas, part: Part) -> None:
    """A wall lamp on either side of a door."""
    box = canvas.box(part)
    y = box.rows.start + int(box.size[0] * 0.22)
    tall, wide = canvas.px(4.2), canvas.px(2.4)
    for x in (box.columns.start - canvas.px(5.5), box.columns.stop + canvas.px(5.5) - wide):
        if x < 1 or x + wide >= canvas.relief.shape[1]:
            continue
        body = Box(slice(y, y + tall), slice(x, x + wide))
        canvas.cover(body, np.full(3, 0.03, np.float32), 3.0)
        glass = body.inset(canvas.px(0.5))
        canvas.albedo[glass] = 0.6
        if canvas.evening:
            canvas.lamp[glass] = np.array([4.2, 2.4, 0.9], np.float32)


def paint_shop(rng: Rng, canvas: Canvas, part: Part, finish: Finish) -> None:
    """A shop front in painted wood: sign, window with goods and lamps, panels below, often an awning."""
    box = canvas.box(part)
    wood = paint(rng, SHOP_COLOURS[int(rng.integers(len(SHOP_COLOURS)))])
    front = canvas.cover(box, wood, 0.8)
    front *= (1 + 0.08 * noise(rng, box.size, canvas.unit, stretch=10))[:, :, None]
    pane = box.within(0.2, 0.07, 0.8, 0.93)
    _room(rng, canvas, pane, finish, (1.0, 0.60, 0.26) if canvas.evening else None, curtains=False, shop=True)
    _goods(rng, canvas, pane)
    count = max(1, round(pane.size[1] / (17 * canvas.unit)))
    edges = np.linspace(0, 1, count + 1)
    for x0, x1 in pairwise(edges):
        _mirror(rng, canvas, pane.within(0, x0, 1, x1), 0.75)
    _grid(canvas, pane, wood, [0.24], list(edges[1:-1]), canvas.px(0.8))
    canvas.outline(pane, wood, 0.2, canvas.px(1.0))
    for x0, x1 in pairwise(edges):
        panel = box.within(0.84, 0.07, 0.96, 0.93).within(0, x0 + 0.03, 1, x1 - 0.03)
        canvas.relief[panel] -= 0.8 * canvas.unit
        canvas.albedo[panel] *= np.float32(0.88)
    _sign(rng, canvas, box.within(0.015, 0.02, 0.15, 0.98), wood)
    if rng.random() < 0.62:
        _awning(rng, canvas, box.within(0.16, -0.02, 0.4, 1.02), finish)


def _lamp(rng: Rng) -> Colour:
    """The colour of the light in a room; now and then it comes from a screen."""
    if rng.random() < 0.04:
        return 0.16, 0.24, 0.42
    strength = rng.uniform(0.4, 1.0)
    return strength, strength * rng.uniform(0.42, 0.58), strength * rng.uniform(0.10, 0.22)


def _room(
    rng: Rng, canvas: Canvas, box: Box, finish: Finish, lamp: Colour | None, curtains: bool = True, shop: bool = False
) -> None:
    """What is behind a pane: a dim room, curtains in folds, at night a lamp that lights both."""
    height, width = box.size
    y, x = grid(height, width)
    depth = rng.uniform(0.008, 0.022) * (2.0 if shop else 1.0)
    inside = np.broadcast_to(depth * (1.5 - 0.9 * y), (height, width)).copy()
    if curtains and rng.random() < finish.curtains:
        open_top, open_bottom = rng.uniform(0.0, 0.34), rng.uniform(0.25, 0.42)
        side = np.minimum(x, 1 - x)
        folds = 0.78 + 0.22 * np.sin(x * width / canvas.unit * rng.uniform(1.9, 2.6) + rng.uniform(0, 6))
        drawn = np.clip((0.5 - open_top - (open_bottom - open_top) * y**0.7 - side) * width / 2 + 0.5, 0, 1)
        inside = inside * (1 - drawn) + drawn * folds * rng.uniform(0.16, 0.34)
    canvas.cover(box, inside[:, :, None], -3.4)
    if lamp is not None:
        spot_x, spot_y = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.4)
        distance = ((x - spot_x) * width) ** 2 + ((y - spot_y) * height) ** 2
        pool = np.exp(-distance / (0.5 * max(height, width)) ** 2)
        reflected = 0.55 + 0.6 * np.minimum(inside * 2.2, 1.0)
        glow = (0.35 + 0.9 * pool) * reflected * (1.05 - 0.3 * y)
        canvas.lamp[box] = (glow * 1.7)[:, :, None] * np.array(lamp, np.float32)


def _mirror(rng: Rng, canvas: Canvas, box: Box, strength: float) -> None:
    """The sky and the houses across the street in a pane, which is never quite flat."""
    height, width = box.size
    y, x = grid(height, width)
    skyline = rng.uniform(0.25, 1.15) + rng.uniform(-0.25, 0.25) * (x - 0.5)
    sky = 1 / (1 + np.exp(-(skyline - y) * 9))
    streak = np.clip(1 - np.abs(x + 0.6 * y - rng.uniform(0.1, 1.4)) * 3.2, 0, 1)
    amount = strength * rng.uniform(0.4, 1.15) * (0.15 + sky * (1 - 0.35 * y) + 0.35 * streak * sky)
    tint = (0.012, 0.018, 0.042) if canvas.evening else (0.085, 0.125, 0.185)
    canvas.glow[box] += amount[:, :, None] * np.array(tint, np.float32)


def _grid(canvas: Canvas, box: Box, colour: Image, rows: list[float], columns: list[float], thick: int) -> None:
    """Glazing bars at fractions of the height and width."""
    height, width = box.size
    for at in rows:
        y = box.rows.start + int(height * at) - thick // 2
        canvas.cover(Box(slice(y, y + thick), box.columns), colour, -2.6)
    for at in columns:
        x = box.columns.start + int(width * at) - thick // 2
        canvas.cover(Box(box.rows, slice(x, x + thick)), colour, -2.6)


def _goods(rng: Rng, canvas: Canvas, pane: Box) -> None:
    """Things on two shelves of a shop window, and lamps that hang above them."""
    _, width = pane.size
    for shelf in (0.66, 0.97):
        x = rng.uniform(0.02, 0.08)
        while x < 0.94:
            w, h = rng.uniform(1.6, 4.5) * canvas.unit / width, rng.uniform(0.1, 0.26)
            if rng.random() < 0.75:
                thing = pane.within(shelf - h, x, shelf, min(x + w, 0.98))
                colour = rng.uniform(0.25, 0.9) * rng.uniform(0.35, 1.0, 3)
                canvas.albedo[thing] = np.asarray(0.5 * colour**2, np.float32)
                canvas.lamp[thing] *= np.asarray(0.35 + 0.9 * colour, np.float32)
            x += w * rng.uniform(1.05, 1.7)
        canvas.albedo[pane.within(shelf, 0, shelf + 0.02, 1)] = 0.05
        canvas.lamp[pane.within(shelf, 0, shelf + 0.02, 1)] *= np.float32(0.25)
    for at in np.linspace(0, 1, int(rng.integers(2, 5)) + 1)[1:] - 0.12:
        bulb = pane.within(0.27, at, 0.32, at + 2.0 * canvas.unit / width)
        canvas.albedo[bulb] = 0.55
        canvas.lamp[bulb] += np.array([1.6, 1.2, 0.7], np.float32) if canvas.evening else np.float32(0.18)


def _sign(rng: Rng, canvas: Canvas, box: Box, wood: Image) -> None:
    """A name in gilt or white letters on the board above a shop."""
    height, width = box.size
    board = canvas.cover(box, wood * np.float32(0.8), 1.8)
    word = SIGNS[int(rng.integers(len(SIGNS)))]
    font = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)[int(rng.integers(2))]
    (w, h), _ = cv2.getTextSize(word, font, 1.0, 1)
    scale = min(0.56 * height / h, 0.86 * width / w)
    ink = np.zeros((height, width), np.uint8)
    at = int((width - w * scale) / 2), int((height + h * scale) / 2)
    cv2.putText(ink, word, at, font, scale, 255, max(1, round(scale * 1.5)), cv2.LINE_AA)
    gilt = np.array([0.80, 0.60, 0.24] if float(wood.mean()) < 0.3 else [0.05, 0.05, 0.05], np.float32)
    mask = (ink / np.float32(255))[:, :, None]
    board[:] = board * (1 - mask) + gilt * mask
    if canvas.evening:
        canvas.lamp[box] += ramp(height, 0.30, 0.08) * (0.25 + mask * gilt) * np.array([1.0, 0.72, 0.4], np.float32)


def _awning(rng: Rng, canvas: Canvas, box: Box, finish: Finish) -> None:
    """Striped cloth on a frame, scalloped at its lower edge."""
    box = Box(box.rows, slice(max(box.columns.start, 0), min(box.columns.stop, canvas.relief.shape[1])))
    height, width = box.size
    stripe = max(2, round(3.4 * canvas.unit))
    x = np.arange(width)
    light = np.array([0.82, 0.78, 0.68], np.float32)
    stripes = np.where((x // stripe % 2)[:, None].astype(bool), finish.awning, light)
    cloth = stripes[None] * ramp(height, 1.12, 0.86)
    valance = int(height * 0.78)
    cloth[valance:] *= np.float32(0.74)
    hang = valance + (height - valance) * (0.55 + 0.45 * np.abs(np.sin(np.pi * (x % stripe + 0.5) / stripe)))
    mask = np.arange(height)[:, None] < hang[None, :]
    for plane, value in ((canvas.albedo, cloth), (canvas.glow, np.zeros_like(cloth))):
        plane[box][mask] = value[mask]
    canvas.lamp[box][mask] *= np.float32(0.10)
    slope = np.broadcast_to(np.linspace(2.0, 9.0, height, dtype=np.float32)[:, None], mask.shape)
    canvas.relief[box][mask] = slope[mask] * canvas.unit
