"""The logged figures of a group over its training: mean and deviation over its runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from patchlight.reporting.collect import Run
from patchlight.reporting.table import Group

BINS = 60
"""How many points a long curve is averaged to."""

SECTIONS = ("val", "train", "health")


def curve_names(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The figures to draw, by section; totals are left out, as they depend on the weights of their terms."""
    names = sorted({str(name) for run in runs for name in run.curves if run.curves[name].notna().any()})
    return {
        section: [name for name in names if name.startswith(f"{section}/") and not name.endswith("_total")]
        for section in SECTIONS
    }


def progress_name(runs: Sequence[Run]) -> str:
    """The axis on which the runs are comparable: batches, or images seen where batches are of several sizes."""
    sizes = {tuple(str((run.config.get(group) or {}).get(key)) for group, key in _BATCH_KEYS) for run in runs}
    return "images_seen" if len(sizes) > 1 and all("images_seen" in run.curves for run in runs) else "step"


_BATCH_KEYS = (("data", "batch_size"), ("trainer", "devices"), ("trainer", "num_nodes"))


def group_curve(group: Group, name: str, progress: str = "step") -> pd.DataFrame:
    """Columns `progress`, `mean`, `std` and `n`; many points are averaged in `BINS` equal parts of the training.

    `std` is the sample standard deviation over the runs, NaN where there is one.
    """
    parts = [_points(run, name, progress).assign(run=i) for i, run in enumerate(group.runs) if name in run.curves]
    empty = pd.DataFrame(columns=["progress", "mean", "std", "n"], dtype=float)
    if not parts:
        return empty
    points = pd.concat(parts)
    if points.empty:
        return empty
    if points["progress"].nunique() > BINS:
        edges = np.linspace(points["progress"].min(), points["progress"].max(), BINS + 1)
        bins = np.clip(np.searchsorted(edges, points["progress"], side="right") - 1, 0, BINS - 1)
        points["progress"] = (edges[bins] + edges[bins + 1]) / 2
    of_runs = points.groupby(["progress", "run"])["value"].mean()
    return of_runs.groupby("progress").agg(["mean", "std", "count"]).rename(columns={"count": "n"}).reset_index()


def _points(run: Run, name: str, progress: str) -> pd.DataFrame:
    frame = run.curves
    if progress == "images_seen":
        # Rows of a validation may lack the number of images: it is that of the batch before.
        frame = frame.sort_values("step", kind="stable").assign(
            images_seen=lambda f: f["images_seen"].ffill().fillna(0)
        )
    points = frame[[progress, name]].dropna()
    return points.set_axis(["progress", "value"], axis=1)
