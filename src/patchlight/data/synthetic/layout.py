"""Where things are on a facade: the label map of a procedural building."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEGEND: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 222),
    "facade": (0, 48, 255),
    "window": (0, 128, 255),
    "door": (0, 207, 255),
    "cornice": (32, 255, 224),
    "sill": (112, 255, 143),
    "balcony": (192, 255, 63),
    "blind": (255, 239, 0),
    "deco": (255, 159, 0),
    "molding": (255, 80, 0),
    "pillar": (255, 0, 0),
    "shop": (174, 0, 0),
}
"""The colour of each class in a label map: the classes of the CMP Facade Database (Tylecek and Sara 2013), in the
colours of the pix2pix distribution of it, so that a network takes either set."""

Variant = Literal["", "roller", "lintel", "pediment", "panel", "frieze", "quoins"]
Bay = tuple[float, float, float, float]
Rows = tuple[float, float]
Edges = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Part:
    """A rectangle of one class, in pixels of the label map: columns x0 to x1, rows y0 to y1, ends excluded."""

    kind: str
    x0: int
    y0: int
    x1: int
    y1: int
    variant: Variant = ""


@dataclass
class Facade:
    """The parts of a building in the order in which they are painted, on a square of `size` pixels."""

    size: int
    parts: list[Part] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Pixels of the label map per unit of length: the layout is thought out on 256 by 256 units."""
        return self.size / 256

    def add(self, kind: str, x0: float, y0: float, x1: float, y1: float, variant: Variant = "") -> None:
        left, top, right, bottom = (min(max(round(v), 0), self.size) for v in (x0, y0, x1, y1))
        if right > left and bottom > top:
            self.parts.append(Part(kind, left, top, right, bottom, variant))

    def label_map(self) -> NDArray[np.uint8]:
        """H W 3, RGB, in the colours of the legend."""
        label = np.empty((self.size, self.size, 3), np.uint8)
        label[:] = LEGEND["background"]
        for part in self.parts:
            label[part.y0 : part.y1, part.x0 : part.x1] = LEGEND[part.kind]
        return label


class _Style:
    """What all windows of a building have in common; lengths as fractions of a bay."""

    def __init__(self, rng: Rng, floors: int, bays: int) -> None:
        upper = range(floors - 1)
        pillars: list[Variant | None] = [None, "quoins", ""]
        crowns: list[Variant] = ["", "lintel", "pediment"]
        self.balcony_floors = {f for f in upper if rng.random() < 0.5} if rng.random() < 0.5 else set()
        self.shutters = rng.random() < 0.36
        self.window_width = rng.uniform(0.36, 0.56)
        self.window_height = rng.uniform(0.5, 0.68)
        self.twins = bays <= 4 and not self.shutters and rng.random() < 0.3
        self.sill = rng.random() < 0.8
        self.crown = crowns[int(rng.choice(3, p=[0.36, 0.4, 0.24]))]
        self.panels = rng.random() < 0.22
        self.rollers = 0.22 if rng.random() < 0.45 else 0.03
        self.long_balconies = rng.random() < 0.25
        self.molding_floors = set(upper) if rng.random() < 0.4 else {floors - 2}
        self.pillars = pillars[int(rng.choice(3, p=[0.5, 0.28, 0.22]))]
        self.shops = rng.choice([0.0, 1.0, 0.6], p=[0.42, 0.36, 0.22])


def draw_facade(rng: Rng, size: int) -> Facade:
    """A building: floors, bays, windows with what belongs to them, doors, shops, cornice."""
    facade = Facade(size)
    unit = facade.unit
    left = unit * rng.uniform(10, 36) if rng.random() < 0.45 else 0.0
    right = size - (unit * rng.uniform(10, 36) if rng.random() < 0.45 else 0.0)
    top = unit * rng.uniform(22, 66)
    street = size - unit * rng.uniform(8, 16)
    facade.add("facade", left, top, right, street)

    floors = int(rng.choice([2, 3, 4, 5, 6], p=[0.1, 0.32, 0.32, 0.2, 0.06]))
    bays = int(np.clip(round((right - left) / unit / rng.uniform(36, 68)), 2, 7))
    style = _Style(rng, floors, bays)
    cornice = unit * rng.uniform(7, 13)
    frieze = unit * rng.uniform(5, 8) if rng.random() < 0.3 else 0.0
    ground = (street - top) * rng.uniform(1.15, 1.5) / (floors + 0.3)
    first = top + cornice + frieze
    heights = np.linspace(1.0, rng.uniform(1.0, 1.35), floors - 1)
    levels = first + (street - ground - first) * np.concatenate([[0.0], np.cumsum(heights) / heights.sum()])
    edges = left + (right - left) * _bay_edges(rng, bays)

    facade.add("cornice", left - 3 * unit, top, right + 3 * unit, top + cornice)
    if frieze:
        facade.add("deco", left, top + cornice, right, first - unit, "frieze")
    _add_pillars(facade, style, edges, first, street - ground, street)
    _add_ground_floor(facade, rng, style, edges, street - ground, street)
    for floor, (y0, y1) in enumerate(pairwise(levels)):
        if floor in style.molding_floors:
            facade.add("molding", left, y1 - 3.6 * unit, right, y1)
        _add_floor(facade, rng, style, floor, edges, (y0, y1))
        if floor in style.balcony_floors and style.long_balconies:
            facade.add("balcony", edges[0] + 5 * unit, y1 - (y1 - y0) * 0.32, edges[-1] - 5 * unit, y1 - unit)
    return facade


def _bay_edges(rng: Rng, bays: int) -> Edges:
    """Edges of the bays in [0, 1]: mirrored about the middle, of several widths in some buildings."""
    spread = rng.choice([0.0, 0.1, 0.28])
    widths = 1 + rng.uniform(-spread, spread, bays)
    widths = widths + widths[::-1]
    return np.concatenate([[0.0], np.cumsum(widths) / widths.sum()])


def _add_pillars(facade: Facade, style: _Style, edges: Edges, top: float, bottom: float, street: float) -> None:
    """Quoins at both corners, from the street up, or pilasters between the bays, above the ground floor."""
    unit = facade.unit
    if style.pillars == "quoins":
        facade.add("pillar", edges[0], top, edges[0] + 7 * unit, street, "quoins")
        facade.add("pillar", edges[-1] - 7 * unit, top, edges[-1], street, "quoins")
    elif style.pillars is not None:
        for x in edges:
            facade.add("pillar", max(x - 3 * unit, edges[0]), top, min(x + 3 * unit, edges[-1]), bottom - 2 * unit)


def _add_floor(facade: Facade, rng: Rng, style: _Style, floor: int, edges: Edges, rows: Rows) -> None:
    top, bottom = _window_rows(facade, style, floor, rows)
    for x0, x1 in pairwise(edges):
        if rng.random() < 0.02:
            continue
        middle, half = (x0 + x1) / 2, (x1 - x0) * style.window_width / 2
        if style.twins and half > 11 * facade.unit:
            gap = 1.8 * facade.unit
            facade.add("pillar", middle - gap, top, middle + gap, bottom)
            _add_window(facade, rng, style, floor, (middle - half * 1.15, rows[0], middle - gap, rows[1]))
            _add_window(facade, rng, style, floor, (middle + gap, rows[0], middle + half * 1.15, rows[1]))
        else:
            half *= 0.8 if style.shutters else 1.0
            _add_window(facade, rng, style, floor, (middle - half, rows[0], middle + half, rows[1]))


def _window_rows(facade: Facade, style: _Style, floor: int, rows: Rows) -> Rows:
    """Top and bottom of the windows of a floor; those on a balcony reach down to it."""
    y0, y1 = rows
    top = y0 + (y1 - y0) * (1 - style.window_height) * 0.5
    on_balcony = floor in style.balcony_floors
    return top, y1 - 5 * facade.unit if on_balcony else top + (y1 - y0) * style.window_height


def _add_window(facade: Facade, rng: Rng, style: _Style, floor: int, bay: Bay) -> None:
    """A window as wide as `bay`, with its crown, shutters or roller blind, sill or balcony."""
    x0, y0, x1, y1 = bay
    unit, width = facade.unit, x1 - x0
    has_balcony = floor in style.balcony_floors
    top, bottom = _window_rows(facade, style, floor, (y0, y1))
    facade.add("window", x0, top, x1, bottom)
    if style.crown == "pediment" and top - y0 > 10 * unit and width > 13 * unit:
        facade.add("deco", x0 - 3 * unit, top - 9 * unit, x1 + 3 * unit, top - 1.5 * unit, "pediment")
    elif style.crown and top - y0 > 6 * unit:
        facade.add("deco", x0 - 2 * unit, top - 6.5 * unit, x1 + 2 * unit, top - 1.5 * unit, "lintel")
    if style.shutters and rng.random() < 0.93:
        leaf = width * 0.46
        facade.add("blind", x0 - leaf - unit, top, x0 - unit, bottom)
        facade.add("blind", x1 + unit, top, x1 + leaf + unit, bottom)
    elif rng.random() < style.rollers:
        facade.add("blind", x0, top, x1, top + (bottom - top) * rng.uniform(0.22, 0.6), "roller")
    if has_balcony and not style.long_balconies:
        reach = width * 0.24
        facade.add("balcony", x0 - reach, bottom - (bottom - top) * 0.4, x1 + reach, bottom + 3 * unit)
    elif style.sill and not has_balcony:
        facade.add("sill", x0 - 2.5 * unit, bottom, x1 + 2.5 * unit, bottom + 3.4 * unit)
        if style.panels and y1 - bottom > 15 * unit:
            facade.add("deco", x0, bottom + 6 * unit, x1, y1 - 6 * unit, "panel")


def _add_ground_floor(facade: Facade, rng: Rng, style: _Style, edges: Edges, top: float, street: float) -> None:
    unit, bays, height = facade.unit, len(edges) - 1, street - top
    entrances = {int(rng.integers(bays))} if rng.random() < 0.85 or bays < 4 else {0, bays - 1}
    facade.add("molding", edges[0], top - 2 * unit, edges[-1], top + 2.5 * unit)
    for bay, (x0, x1) in enumerate(pairwise(edges)):
        middle, width = (x0 + x1) / 2, x1 - x0
        if bay in entrances:
            half = min(width * 0.3, height * 0.3, 17 * unit)
            reach = half + 4 * unit
            crown: Variant = "pediment" if style.crown == "pediment" else "lintel"
            rise = 0.06 if crown == "pediment" else 0.1
            facade.add("deco", middle - reach, top + height * rise, middle + reach, top + height * 0.2, crown)
            facade.add("door", middle - half, top + height * 0.2, middle + half, street)
        elif rng.random() < style.shops:
            facade.add("shop", x0 + width * 0.08, top + height * 0.13, x1 - width * 0.08, street)
        else:
            half = min(width * style.window_width / 2, height * 0.32)
            y0, y1 = top + height * 0.24, top + height * 0.74
            facade.add("window", middle - half, y0, middle + half, y1)
            if style.sill:
                facade.add("sill", middle - half - 2.5 * unit, y1, middle + half + 2.5 * unit, y1 + 3.4 * unit)
