"""Where things are on a facade: the label map of a procedural building."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEGEND: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 170),
    "facade": (0, 0, 255),
    "window": (0, 85, 255),
    "door": (0, 170, 255),
    "cornice": (0, 255, 255),
    "sill": (85, 255, 170),
    "balcony": (170, 255, 85),
    "blind": (255, 255, 0),
    "deco": (255, 170, 0),
    "molding": (255, 85, 0),
    "pillar": (255, 0, 0),
    "shop": (170, 0, 0),
}
"""The colour of each class in a label map: the classes and colours of the CMP Facade Database
(Tylecek and Sara 2013)."""


@dataclass(frozen=True)
class Part:
    """A rectangle of one class, in pixels of the label map: columns x0 to x1, rows y0 to y1, ends excluded."""

    kind: str
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass
class Facade:
    """The parts of a building in the order in which they are painted, on a square of `size` pixels."""

    size: int
    parts: list[Part] = field(default_factory=list)

    def add(self, kind: str, x0: float, y0: float, x1: float, y1: float) -> None:
        left, top, right, bottom = (min(max(round(v), 0), self.size) for v in (x0, y0, x1, y1))
        if right > left and bottom > top:
            self.parts.append(Part(kind, left, top, right, bottom))

    def label_map(self) -> NDArray[np.uint8]:
        """H W 3, RGB, in the colours of the legend."""
        label = np.empty((self.size, self.size, 3), np.uint8)
        label[:] = LEGEND["background"]
        for part in self.parts:
            label[part.y0 : part.y1, part.x0 : part.x1] = LEGEND[part.kind]
        return label


@dataclass(frozen=True)
class _Style:
    """What all windows of a building have in common; lengths as fractions of a bay or in label pixels."""

    window_width: float
    window_height: float
    sill: bool
    lintel: bool
    shutters: bool
    balcony_floors: frozenset[int]
    molding_floors: frozenset[int]
    pillars: bool
    shops: bool


def draw_facade(rng: np.random.Generator, size: int) -> Facade:
    """A building: floors, bays, windows with what belongs to them, doors, shops, cornice."""
    unit = size / 256
    facade = Facade(size)
    left = unit * rng.uniform(8, 34) if rng.random() < 0.45 else 0.0
    right = size - (unit * rng.uniform(8, 34) if rng.random() < 0.45 else 0.0)
    top = unit * rng.uniform(10, 58)
    street = size - unit * rng.uniform(4, 11)
    facade.add("facade", left, top, right, street)

    floors = int(rng.integers(2, 6))
    bays = int(np.clip(round((right - left) / unit / rng.uniform(38, 72)), 2, 7))
    cornice = unit * rng.uniform(7, 14)
    ground = (street - top) * rng.uniform(1.15, 1.5) / (floors + 0.3)
    upper = (street - ground - top - cornice) / max(floors - 1, 1)
    style = _draw_style(rng, floors)
    edges = left + (right - left) * _bay_edges(rng, bays)

    facade.add("cornice", left - 3 * unit, top, right + 3 * unit, top + cornice)
    _add_ground_floor(facade, rng, style, edges, street - ground, street, unit)
    for floor in range(floors - 1):
        y0 = top + cornice + floor * upper
        if floor in style.molding_floors:
            facade.add("molding", left, y0 + upper - 3.5 * unit, right, y0 + upper)
        for x0, x1 in pairwise(edges):
            _add_window(facade, rng, style, floor, (x0, y0, x1, y0 + upper), unit)
    if style.pillars:
        for x in edges:
            width = 3.2 * unit
            facade.add("pillar", max(x - width, left), top + cornice, min(x + width, right), street - ground)
    return facade


def _draw_style(rng: np.random.Generator, floors: int) -> _Style:
    upper_floors = range(floors - 1)
    balconies = frozenset(f for f in upper_floors if rng.random() < 0.4) if rng.random() < 0.5 else frozenset()
    moldings = frozenset(upper_floors) if rng.random() < 0.35 else frozenset({floors - 2})
    return _Style(
        window_width=rng.uniform(0.36, 0.6),
        window_height=rng.uniform(0.5, 0.7),
        sill=rng.random() < 0.75,
        lintel=rng.random() < 0.5,
        shutters=rng.random() < 0.35,
        balcony_floors=balconies,
        molding_floors=moldings,
        pillars=rng.random() < 0.3,
        shops=rng.random() < 0.5,
    )


def _bay_edges(rng: np.random.Generator, bays: int) -> NDArray[np.float64]:
    """Edges of the bays in [0, 1]: symmetric about the middle, wide and narrow ones in turn for some buildings."""
    widths = np.ones(bays) + rng.uniform(-0.22, 0.22) * (np.arange(bays) % 2)
    widths = widths + widths[::-1]
    return np.concatenate([[0.0], np.cumsum(widths) / widths.sum()])


def _add_window(
    facade: Facade,
    rng: np.random.Generator,
    style: _Style,
    floor: int,
    bay: tuple[float, float, float, float],
    unit: float,
) -> None:
    x0, y0, x1, y1 = bay
    if rng.random() < 0.03:
        return
    narrow = 0.82 if style.shutters else 1.0
    half = (x1 - x0) * style.window_width * narrow / 2
    middle, height = (x0 + x1) / 2, (y1 - y0) * style.window_height
    has_balcony = floor in style.balcony_floors
    top = y0 + (y1 - y0 - height) * 0.45
    bottom = y1 - 5 * unit if has_balcony else top + height
    facade.add("window", middle - half, top, middle + half, bottom)
    if style.lintel:
        facade.add("deco", middle - half - 2 * unit, top - 5 * unit, middle + half + 2 * unit, top - 0.5 * unit)
    if style.shutters and rng.random() < 0.9:
        width = half * 0.85
        facade.add("blind", middle - half - width, top, middle - half, bottom)
        facade.add("blind", middle + half, top, middle + half + width, bottom)
    elif rng.random() < 0.18:
        facade.add("blind", middle - half, top, middle + half, top + (bottom - top) * rng.uniform(0.25, 0.6))
    if has_balcony:
        reach = half + (x1 - x0) * 0.14
        facade.add("balcony", middle - reach, bottom - (bottom - top) * 0.42, middle + reach, bottom + 3 * unit)
    elif style.sill:
        facade.add("sill", middle - half - 2.5 * unit, bottom, middle + half + 2.5 * unit, bottom + 3.4 * unit)


def _add_ground_floor(
    facade: Facade,
    rng: np.random.Generator,
    style: _Style,
    edges: NDArray[np.float64],
    top: float,
    street: float,
    unit: float,
) -> None:
    bays = len(edges) - 1
    entrance = int(rng.integers(bays))
    height = street - top
    facade.add("molding", edges[0], top - 2 * unit, edges[-1], top + 2.5 * unit)
    for bay, (x0, x1) in enumerate(pairwise(edges)):
        middle, width = (x0 + x1) / 2, x1 - x0
        if bay == entrance:
            half = min(width * 0.3, 17 * unit)
            facade.add(
                "deco", middle - half - 3 * unit, top + height * 0.13, middle + half + 3 * unit, top + height * 0.2
            )
            facade.add("door", middle - half, top + height * 0.2, middle + half, street)
        elif style.shops:
            facade.add("shop", x0 + width * 0.08, top + height * 0.16, x1 - width * 0.08, street - height * 0.05)
        else:
            half = width * style.window_width / 2
            y0, y1 = top + height * 0.24, top + height * 0.74
            facade.add("window", middle - half, y0, middle + half, y1)
            if style.sill:
                facade.add("sill", middle - half - 2.5 * unit, y1, middle + half + 2.5 * unit, y1 + 3.4 * unit)
