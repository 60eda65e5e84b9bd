"""Plots by matplotlib: a metric against what differed, and curves; each as SVG for the page and as PNG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from patchlight.reporting.curves import Axis, group_curve
from patchlight.reporting.differences import NOT_SET, RECEPTIVE_FIELD, Settings, natural
from patchlight.reporting.table import Column, Group, Table

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Distinguishable with every kind of colour vision (Okabe and Ito 2008), on white and on black."""

DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1.2, 1.2), (4, 1.2, 1.2, 1.2))

INK = "#23272e"
"""The colour of text and axes; in the page it becomes that of the text around."""

SIZE = (4.3, 2.9)
LEGEND_WIDTH = 56
"""Letters on a line of the legend, which has room for some more."""

MAX_SERIES = 8
MAX_BANDS = 8
"""Of how many groups the deviations can be told apart."""


@dataclass(frozen=True)
class Plot:
    """One panel: SVG without a size of its own, and PNG where it is to be a file."""

    name: str
    title: str
    svg: str
    png: bytes | None

    def save(self, folder: Path) -> Path:
        """Write the PNG."""
        assert self.png is not None, f"{self.name} was drawn for the page alone"
        path = folder / f"{re.sub(r'[^a-zA-Z0-9]+', '_', self.name).strip('_')}.png"
        path.write_bytes(self.png)
        return path


def colour_of(number: int) -> str:
    """The colour of a group or a series."""
    return COLOURS[number % len(COLOURS)]


def dashes_of(number: int) -> tuple[float, ...]:
    """The dashes of a group or a series, where there are more than colours."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def curve_plots(name: str, groups: Sequence[Group], axes: Sequence[Axis]) -> dict[str, Plot]:
    """A figure over each axis, by the axis' name; only the plot over the first is a PNG as well."""
    return {axis.name: _curve_plot(name, groups, axis, png=axis is axes[0]) for axis in axes}


def _curve_plot(name: str, groups: Sequence[Group], axis: Axis, *, png: bool) -> Plot:
    """A figure's mean over the seeds of each group, with a band of one sample standard deviation if they are few."""
    figure, axes = _figure(name)
    for group in groups:
        curve = group_curve(group, name, axis)
        colour = colour_of(group.number)
        if curve.empty:
            continue
        (line,) = axes.plot(
            curve["progress"], curve["mean"], color=colour, linewidth=1.4, label=group.label,
            marker="o" if len(curve) < 3 else None, markersize=3,
        )  # fmt: skip
        if dashes_of(group.number):
            line.set_dashes(dashes_of(group.number))
        if len(groups) <= MAX_BANDS and curve["std"].notna().any():
            low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
            axes.fill_between(curve["progress"], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel(axis.title, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return _finish(figure, f"curve {name}", name, legend=len(groups) > 1, png=png)


def key_plots(table: Table, settings: Settings) -> list[Plot]:
    """Every metric against what differed, with a deviation over seeds; none where too many things differ.

    One thing that differed is the axis. Of several, one that is a number is the axis, the receptive field if there is
    one, and the combinations of the others are lines, if they are few.
    """
    axis, series = _axis_and_series(table.groups, settings)
    if axis is None or len(series) > MAX_SERIES:
        return []
    columns = [column for column in table.columns if "/" not in column.metric]
    return [_key_plot(table, settings, axis, series, column) for column in columns]


def series_labels(table: Table, settings: Settings) -> list[str]:
    """The lines of the key plots, in the order of their colours; none where there is one."""
    axis, series = _axis_and_series(table.groups, settings)
    return [_series_label(values, axis, settings) for values in series] if axis and len(series) > 1 else []


def _axis_and_series(groups: Sequence[Group], settings: Settings) -> tuple[str | None, list[tuple[str, ...]]]:
    factors = settings.factors
    numeric = [key for key in factors if all(natural(group.values[key])[0] == 1 for group in groups)]
    if len(groups) < 2 or not (len(factors) == 1 or numeric):
        return None, []
    axis = min(numeric, key=lambda key: key != RECEPTIVE_FIELD) if len(factors) > 1 else factors[0]
    others = [key for key in factors if key != axis]
    return axis, list(dict.fromkeys(tuple(group.values[key] for key in others) for group in groups))


def _series_label(values: Sequence[str], axis: str, settings: Settings) -> str:
    others = [key for key in settings.factors if key != axis]
    return ", ".join(f"{settings.names[key]}={value or NOT_SET}" for key, value in zip(others, values, strict=True))


def _key_plot(table: Table, settings: Settings, axis: str, series: list[tuple[str, ...]], column: Column) -> Plot:
    figure, axes = _figure(f"{column.name} {column.arrow}".strip())
    others = [key for key in settings.factors if key != axis]
    texts = sorted({group.values[axis] for group in table.groups}, key=natural)
    numeric = all(natural(text)[0] == 1 for text in texts)
    places = {text: float(text if numeric else i) for i, text in enumerate(texts)}
    for number, values in enumerate(series):
        groups = [group for group in table.groups if tuple(group.values[key] for key in others) == values]
        found = {g.values[axis]: table.cells.get((g.number, column.name)) for g in groups}
        cells = {text: cell for text in texts if (cell := found.get(text))}
        axes.errorbar(
            [places[text] for text in cells], [cell.mean for cell in cells.values()],
            yerr=[cell.std if cell.n > 1 else 0.0 for cell in cells.values()],
            color=colour_of(number), marker="o", markersize=4.5, capsize=3, elinewidth=1.2,
            linewidth=1.2 if numeric else 0, label=_series_label(values, axis, settings) or None,
        )  # fmt: skip
        for group in groups:
            own = table.values[(table.values["group"] == group.number) & (table.values["column"] == column.name)]
            axes.plot(
                [places[group.values[axis]]] * len(own), own["value"], linestyle="none", marker="o", markersize=2.6,
                color=colour_of(number), alpha=0.45,
            )  # fmt: skip
    _label_axis(axes, places, numeric)
    unit = " (px)" if axis == RECEPTIVE_FIELD else ""
    axes.set_xlabel(f"{settings.names[axis]}{unit}", color=INK)
    return _finish(figure, f"key {column.name}", column.name, legend=len(series) > 1)


def _label_axis(axes: Axes, places: dict[str, float], numeric: bool) -> None:
    """A tick for every value; numbers of several orders of magnitude are spread evenly."""
    values = list(places.values())
    if numeric and min(values) > 0 and max(values) / min(values) >= 8:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        margin = (max(values) / min(values)) ** 0.06
        axes.set_xlim(min(values) / margin, max(values) * margin)
    else:
        margin = 0.08 * (max(values) - min(values) or 1.0) if numeric else 0.5
        axes.set_xlim(min(values) - margin, max(values) + margin)
    axes.set_xticks(values, [text or NOT_SET for text in places])


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, fontsize=10.5, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=INK, alpha=0.4)
    axes.grid(axis="y", color=INK, alpha=0.1, linewidth=0.7)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    return figure, axes


def _finish(figure: Figure, name: str, title: str, *, legend: bool, png: bool = True) -> Plot:
    """The page has a legend of its own for all plots; a PNG stands alone."""
    svg = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Plot(name, title, _for_page(svg.getvalue(), title), _png(figure, legend) if png else None)


def _png(figure: Figure, legend: bool) -> bytes:
    if legend:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        ncols = 1 if max(map(len, labels)) > 28 else 2
        labels = [fill(label, LEGEND_WIDTH) for label in labels]
        figure.legend(
            handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=8, labelcolor=INK
        )
        lines = sum(label.count("\n") + 1 for label in labels)
        figure.set_figheight(SIZE[1] + 0.2 * math.ceil(lines / ncols))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=160, facecolor="white")
    return content.getvalue()


def _for_page(svg: str, title: str) -> str:
    """The <svg> element alone, as wide as its place, in the page's own text colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg).replace(INK, "currentColor")
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
