"""Curves of the runs: their figures, and the axes over which they can be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from patchlight.errors import DataError
from patchlight.reporting.collect import Run
from patchlight.reporting.table import Group

BINS = 60
"""How many points a long curve is averaged to."""

SECTIONS = ("val", "train", "health")
BATCH_KEYS = (("data", "batch_size"), ("trainer", "devices"), ("trainer", "num_nodes"))

AxisName = Literal["batches", "images", "wall_time", "processor_time"]

SCALES = ((3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From how many seconds on, how many of them are one of which unit."""


@dataclass(frozen=True)
class Axis:
    """What a curve is drawn over: a column of a run's curves, and its name for people.

    `per_unit` values of the column are one of the axis. Of a time, the runs of a group pass different values.
    """

    name: AxisName
    column: str
    label: str
    unit: str = ""
    per_unit: float = 1.0

    @property
    def is_time(self) -> bool:
        return self.name in ("wall_time", "processor_time")

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


AXES = (
    Axis("batches", "step", "batches"),
    Axis("images", "images_seen", "images seen"),
    Axis("wall_time", "time/train_seconds", "wall time of training"),
    Axis("processor_time", "time/processor_seconds", "processor time of training"),
)


def axes_of(runs: Sequence[Run], wanted: AxisName | None = None) -> list[Axis]:
    """The axes that all curves can be drawn over; first the wanted one, or that on which the runs are comparable.

    They are comparable by batches, or by images seen where batches are of several sizes.

    Raises:
        DataError: a run lacks the wanted column.
    """
    with_curves = [run for run in runs if not run.curves.empty]
    found = {
        axis.name: _scaled(axis, with_curves)
        for axis in AXES
        if all(axis.column in run.curves and run.curves[axis.column].notna().any() for run in with_curves)
    }
    if wanted is not None and wanted not in found:
        column = next(axis.column for axis in AXES if axis.name == wanted)
        lacking = next(run for run in with_curves if column not in run.curves or run.curves[column].isna().all())
        prefix, _, name = column.rpartition("/")
        file = "times.csv" if prefix else "metrics.csv"
        raise DataError(
            f"axis={wanted} needs the column {name} of {lacking.folder / file}, which is not there: choose "
            f"{' or '.join(found)}"
        )
    sizes = {tuple(str((run.config.get(group) or {}).get(key)) for group, key in BATCH_KEYS) for run in runs}
    first = wanted or ("images" if len(sizes) > 1 and "images" in found else "batches")
    return sorted(found.values(), key=lambda axis: axis.name != first)


def _scaled(axis: Axis, runs: Sequence[Run]) -> Axis:
    """A time in seconds, minutes or hours, as the longest run needs it."""
    if not axis.is_time:
        return axis
    longest = max((float(run.curves[axis.column].max()) for run in runs), default=0.0)
    per_unit, unit = next((size, unit) for least, size, unit in SCALES if longest >= least)
    return Axis(axis.name, axis.column, axis.label, unit, per_unit)


def curve_names(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The figures to draw, by section; totals are left out, as they depend on the weights of their terms."""
    names = sorted({str(name) for run in runs for name in run.curves if run.curves[name].notna().any()})
    return {
        section: [name for name in names if name.startswith(f"{section}/") and not name.endswith("_total")]
        for section in SECTIONS
    }


def group_curve(group: Group, name: str, axis: Axis = AXES[0]) -> pd.DataFrame:
    """Columns `progress`, `mean`, `std` and `n`; many points are averaged in `BINS` equal parts of the training.

    `std` is the sample standard deviation over the runs, NaN where there is one. No two runs take equally long for the
    same batches: over a time, what they have after equally many batches lies at the mean of their times.
    """
    parts = [_points(run, name, axis).assign(run=i) for i, run in enumerate(group.runs) if name in run.curves]
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=["progress", "mean", "std", "n"], dtype=float)
    points = pd.concat(parts)
    if axis.is_time:
        points["progress"] = points["step"].map(_mean_times(points))
    if points["progress"].nunique() > BINS:
        edges = np.linspace(points["progress"].min(), points["progress"].max(), BINS + 1)
        bins = np.clip(np.searchsorted(edges, points["progress"], side="right") - 1, 0, BINS - 1)
        points["progress"] = (edges[bins] + edges[bins + 1]) / 2
    of_runs = points.groupby(["progress", "run"])["value"].mean()
    return of_runs.groupby("progress").agg(["mean", "std", "count"]).rename(columns={"count": "n"}).reset_index()


def _points(run: Run, name: str, axis: Axis) -> pd.DataFrame:
    frame = run.curves
    if axis.column not in frame:
        return pd.DataFrame(columns=["step", "progress", "value"], dtype=float)
    if axis.column != "step":
        # Rows of a validation may lack the column: it is that of the batch before.
        frame = frame.sort_values("step", kind="stable")
        frame = frame.assign(**{axis.column: frame[axis.column].ffill().fillna(0)})
    points = pd.DataFrame({"step": frame["step"], "progress": frame[axis.column] / axis.per_unit, "value": frame[name]})
    return points.dropna()


def _mean_times(points: pd.DataFrame) -> pd.Series:
    """By step, the time of the mean run. The end of one run moves it neither back nor forth."""
    times = points.pivot_table(index="step", columns="run", values="progress")
    laps = times.interpolate(method="index", limit_area="inside").diff()
    laps.iloc[0] = times.iloc[0]
    mean_times: pd.Series = laps.mean(axis=1).cumsum()
    return mean_times


def observations(runs: Sequence[Run], prefix: str) -> Mapping[str, int]:
    """How many rows of each run hold a figure whose name begins so."""
    counts = {}
    for run in runs:
        names = [name for name in run.curves if str(name).startswith(prefix)]
        counts[run.name] = int(run.curves[names].notna().any(axis=1).sum()) if names else 0
    return counts
