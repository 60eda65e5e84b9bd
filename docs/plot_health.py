"""Draws the curves of docs/health.md: `python docs/plot_health.py FOLDER`, with one folder per run below FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RUNS = {
    "pix2pix": ("pix2pix", "#2166ac"),
    "cyclegan": ("CycleGAN", "#5aa9d6"),
    "nol1": ("pix2pix without its L1 term", "#3a9d6e"),
    "strong": ("generator that hardly moves", "#b2182b"),
    "weak": ("discriminator hardly learns", "#d98c3f"),
    "fast": ("generator's learning rate far too high", "#7b3294"),
}
"""Folders of the runs with their titles and colours. Blue ones are healthy, the green one as far as can be seen."""

PANELS = (
    ("d_acc", "accuracy over patches (d_acc)", False),
    ("logit_gap", "logits: mean of real minus mean of generated", False),
    ("grad_ratio", "gradients: generators over discriminators (grad_ratio)", True),
    ("variety", "variety of generated images over that of real ones", True),
    ("saturation", "values at the ends of the range, above real (saturation)", False),
    ("val/l1", "validation L1 (CycleGAN: of the reconstructions)", False),
)
INK = "#262a33"


def curve(folder: Path, figure: str) -> pd.Series:
    """A health figure over batches, as a running mean of ten observations; of CycleGAN the mean of both domains."""
    table = pd.read_csv(folder / "metrics.csv").set_index("step")
    if figure == "val/l1":
        return table[figure].dropna() if figure in table else pd.Series(dtype=float)
    if figure == "logit_gap":
        found = _mean(table, "d_logit_real") - _mean(table, "d_logit_fake")
    else:
        found = _mean(table, figure)
    return found.dropna().rolling(10, min_periods=1).mean()


def _mean(table: pd.DataFrame, figure: str) -> pd.Series:
    columns = [name for name in table if name.removeprefix("health/") in (figure, f"{figure}_a", f"{figure}_b")]
    return table[columns].mean(axis=1) if columns else pd.Series(dtype=float)


def draw(folder: Path) -> Figure:
    """The picture: one panel per figure, one line per run."""
    figure = Figure(figsize=(11, 9), dpi=110, layout="constrained")
    panels: list[Axes] = list(figure.subplots(3, 2).ravel())
    for axes, (name, title, logarithmic) in zip(panels, PANELS, strict=True):
        for run, (label, colour) in RUNS.items():
            values = curve(folder / run, name)
            marker = "o" if name == "val/l1" else None
            axes.plot(values.index, values, color=colour, linewidth=1.8, label=label, marker=marker, markersize=4)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_yscale("log" if logarithmic else "linear")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
        axes.grid(axis="y", color="#e6e8ec", linewidth=0.8)
    for axes in panels[-2:]:
        axes.set_xlabel("batches", color=INK, fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, labelcolor=INK, fontsize=10)
    return figure


if __name__ == "__main__":
    draw(Path(sys.argv[1])).savefig(Path(__file__).parent / "images" / "health.png")
