"""From the parts of a facade to its photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchlight.data.synthetic.canvas import Canvas, Finish, size, within
from patchlight.data.synthetic.layout import Facade, Part
from patchlight.data.synthetic.light import light, photograph
from patchlight.data.synthetic.materials import SCHEMES, Image, Scheme, courses, noise, paint, wall
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


def render(rng: np.random.Generator, facade: Facade, *, evening: bool) -> NDArray[np.uint8]:
    """The photo of a facade, H W 3, RGB, as large as its label map."""
    canvas = Canvas.blank(facade, evening=evening)
    scheme = SCHEMES[int(rng.integers(len(SCHEMES)))]
    finish = _draw_finish(rng, scheme)
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
            box = within(canvas.box(part), 0, 0.1, 1, 0.9)
            flower_box(rng, canvas, box, box[0].start)
    return photograph(rng, canvas, light(rng, canvas), facade.size)


def _draw_finish(rng: np.random.Generator, scheme: Scheme) -> Finish:
    frame, wood = paint(rng, scheme.frame), paint(rng, scheme.wood)
    awnings = ((0.62, 0.16, 0.15), (0.16, 0.34, 0.28), (0.18, 0.27, 0.46), (0.78, 0.56, 0.22), (0.50, 0.50, 0.48))
    return Finish(
        trim=paint(rng, scheme.trim),
        frame=wood if rng.random() < (0.6 if sum(scheme.wall) < 1.45 else 0.2) else frame,
        wood=wood,
        shutter=paint(rng, scheme.shutter),
        iron=paint(rng, (0.16, 0.17, 0.18)),
        awning=paint(rng, awnings[int(rng.integers(len(awnings)))]),
        panes=("cross", "casement", "sash", "transom")[int(rng.integers(4))],
        surround=rng.random() < 0.62,
        flowers=rng.random() < 0.32,
        stone_railing=rng.random() < 0.25,
        curtains=rng.uniform(0.1, 0.6),
    )


def _paint_wall(rng: np.random.Generator, canvas: Canvas, facade: Facade, building: Part, scheme: Scheme) -> None:
    """The wall, often with a ground floor of rusticated stone, a plinth, and stains below what keeps off the rain."""
    box = canvas.box(building)
    albedo, relief = wall(rng, size(box), scheme.kind, paint(rng, scheme.wall), canvas.unit)
    canvas.cover(box, albedo, 0.0)
    canvas.relief[box] = relief
    doors = [part for part in facade.parts if part.kind == "door"]
    base = [part for part in facade.parts if part.kind == "molding" and part.y1 < doors[0].y0 + 8 * facade.unit]
    if base and scheme.kind != "boards" and rng.random() < 0.5:
        top = base[0].y0 * canvas.factor
        stone = (slice(top, box[0].stop), box[1])
        colour = paint(rng, scheme.trim) * np.float32(rng.uniform(0.6, 0.95))
        blocks, joints = courses(
            rng, size(stone), colour, (8.5 * canvas.unit, 22 * canvas.unit), joint=1.1 * canvas.unit, spread=0.06
        )
        canvas.cover(stone, blocks, 0.6)
        canvas.relief[stone] += joints
    _stain(rng, canvas, facade, box)
    plinth = (slice(box[0].stop - canvas.px(rng.uniform(4, 9)), box[0].stop), box[1])
    grain: Image = 1 + 0.08 * noise(rng, size(plinth), 2 * canvas.unit)
    canvas.cover(plinth, paint(rng, (0.50, 0.49, 0.47)) * grain[:, :, None], 1.4)


def _stain(rng: np.random.Generator, canvas: Canvas, facade: Facade, wall_box: tuple[slice, slice]) -> None:
    strength = rng.uniform(0.05, 0.32)
    streaks = np.clip(0.5 + 0.9 * noise(rng, size(wall_box), 1.8 * canvas.unit, stretch=24), 0, 1.4)
    dirt = np.zeros_like(streaks)
    for part in facade.parts:
        if part.kind in _STAINED_BELOW:
            rows, columns = canvas.box(part)
            y, x = rows.stop - wall_box[0].start, max(columns.start - wall_box[1].start, 0)
            reach = canvas.px(_STAINED_BELOW[part.kind])
            below = dirt[max(y, 0) : max(y + reach, 0), x : max(columns.stop - wall_box[1].start, 0)]
            below[:] = np.maximum(below, np.linspace(1, 0, reach, dtype=np.float32)[: below.shape[0], None])
    foot = np.linspace(-9, 1, dirt.shape[0], dtype=np.float32)[:, None]
    dirt = np.maximum(dirt, np.clip(foot, 0, 1))
    dirt *= streaks
    for channel, share in enumerate((0.96, 1.0, 1.06)):  # dirt is a little yellow
        canvas.albedo[:, :, channel][wall_box] *= 1 - np.float32(strength * share) * dirt
