from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from patchlight.errors import DataError
from patchlight.reporting.collect import Run
from patchlight.reporting.curves import AXES, BINS, axes_of, curve_names, group_curve, observations
from patchlight.reporting.table import Group


def run(name: str, curves: pd.DataFrame, batch_size: int = 1) -> Run:
    config: dict[str, Any] = {"data": {"batch_size": batch_size}}
    return Run(Path(name), name, "finished", config=config, curves=curves)


def group(*curves: pd.DataFrame) -> Group:
    return Group(0, "all", {}, [run(str(i), frame) for i, frame in enumerate(curves)])


def test_mean_and_deviation_at_each_step() -> None:
    one = pd.DataFrame({"step": [9, 19, 29], "val/l1": [0.4, np.nan, 0.2]})
    two = pd.DataFrame({"step": [9, 19, 29], "val/l1": [0.2, 0.3, np.nan]})
    curve = group_curve(group(one, two), "val/l1")
    assert list(curve["progress"]) == [9, 19, 29]
    assert list(curve["mean"]) == pytest.approx([0.3, 0.3, 0.2])
    assert curve["std"][0] == pytest.approx(0.1 * 2**0.5)
    assert curve["std"][1:].isna().all()
    assert list(curve["n"]) == [2, 1, 1]


def test_long_curves_are_averaged_within_each_run_first() -> None:
    steps = np.arange(6000)
    frames = [pd.DataFrame({"step": steps, "train/g": np.full(6000, value)}) for value in (1.0, 3.0)]
    curve = group_curve(group(frames[0], frames[1].iloc[::7]), "train/g")
    assert len(curve) == BINS
    assert list(curve["mean"]) == pytest.approx([2.0] * BINS)
    assert list(curve["std"]) == pytest.approx([2**0.5] * BINS)
    assert 0 < curve["progress"].iloc[0] < curve["progress"].iloc[-1] < 6000


def test_a_figure_that_no_run_has() -> None:
    empty = pd.DataFrame({"step": [1.0], "val/l1": [np.nan]})
    assert len(group_curve(group(empty), "val/l1")) == 0
    assert len(group_curve(group(empty), "val/psnr")) == 0


def test_names_by_section() -> None:
    frame = pd.DataFrame({name: [1.0] for name in ("step", "lr/g", "val/l1", "train/g_l1", "train/g_total", "test/l1")})
    frame["health/d_acc"] = np.nan
    assert curve_names([run("a", frame)]) == {"val": ["val/l1"], "train": ["train/g_l1"], "health": []}


BATCHES, IMAGES, WALL_TIME, PROCESSOR_TIME = AXES


def test_batches_of_several_sizes_are_compared_by_images() -> None:
    frame = pd.DataFrame({"step": [4, 4, 9], "images_seen": [20.0, np.nan, 40.0], "val/l1": [np.nan, 0.5, 0.4]})
    assert axes_of([run("a", frame), run("b", frame)]) == [BATCHES, IMAGES]
    assert axes_of([run("a", frame, 4), run("b", frame, 1)]) == [IMAGES, BATCHES]
    without = frame.drop(columns="images_seen")
    assert axes_of([run("a", without, 4), run("b", frame, 1)]) == [BATCHES]
    # A validation stands where the batch before it stood.
    assert list(group_curve(group(frame), "val/l1", IMAGES)["progress"]) == [20, 40]


def test_seeds_are_averaged_after_the_same_batches_and_lie_at_their_mean_time() -> None:
    """The second run takes twice as long for a batch, and none of the two values is at a time of its own."""
    fast = {"step": [9, 9, 19, 19], "time/train_seconds": [100.0, np.nan, 200.0, np.nan]}
    slow = fast | {"time/train_seconds": [200.0, np.nan, 400.0, np.nan]}
    values = {"val/l1": [np.nan, 0.4, np.nan, 0.2]}, {"val/l1": [np.nan, 0.6, np.nan, 0.2]}
    frames = [pd.DataFrame(times | own) for times, own in zip((fast, slow), values, strict=True)]
    first, *others = axes_of([run("a", frames[0]), run("b", frames[1])], "wall_time")
    assert [axis.name for axis in (first, *others)] == ["wall_time", "batches"]
    assert (first.title, first.per_unit) == ("wall time of training (min)", 60.0)
    curve = group_curve(group(*frames), "val/l1", first)
    assert list(curve["progress"]) == pytest.approx([150 / 60, 300 / 60])
    assert list(curve["mean"]) == pytest.approx([0.5, 0.2])
    assert list(curve["n"]) == [2, 2]
    assert curve["std"][0] == pytest.approx(0.2 / 2**0.5)
    over_batches = group_curve(group(*frames), "val/l1", BATCHES)
    assert list(over_batches["mean"]) == list(curve["mean"])


def test_after_the_end_of_a_slow_run_time_goes_on_with_the_others() -> None:
    fast = {"step": [9, 19, 29], "time/train_seconds": [60.0, 120.0, 180.0], "val/l1": [0.4, 0.3, 0.2]}
    slow = {"step": [9, 19], "time/train_seconds": [300.0, 600.0], "val/l1": [0.6, 0.5]}
    frames = [pd.DataFrame(fast), pd.DataFrame(slow)]
    curve = group_curve(group(*frames), "val/l1", axes_of([run("a", frames[0]), run("b", frames[1])], "wall_time")[0])
    assert list(curve["progress"]) == pytest.approx([3, 6, 7])
    assert list(curve["mean"]) == pytest.approx([0.5, 0.4, 0.2])
    assert list(curve["n"]) == [2, 2, 1]


def test_long_curves_over_time_are_averaged_in_equal_times() -> None:
    seconds = np.arange(1, 6001, dtype=float)
    frames = [
        pd.DataFrame({"step": seconds, "time/processor_seconds": seconds * pace, "train/g": seconds * pace})
        for pace in (1.0, 2.0)
    ]
    (axis,) = [axis for axis in axes_of([run("a", frames[0]), run("b", frames[1])]) if axis.name == "processor_time"]
    assert axis.unit == "h"
    curve = group_curve(group(*frames), "train/g", axis)
    assert len(curve) == BINS
    assert list(curve["n"]) == [2] * BINS
    assert list(curve["mean"] / 3600) == pytest.approx(list(curve["progress"]), abs=9000 / 3600 / BINS / 2)


def test_an_axis_that_a_run_lacks_is_named() -> None:
    frame = pd.DataFrame({"step": [4], "val/l1": [0.5]})
    lacking = "axis=wall_time needs the column train_seconds of a/times.csv, which is not there: choose batches"
    with pytest.raises(DataError, match=f"^{lacking}$"):
        axes_of([run("a", frame)], "wall_time")


def test_times_are_in_seconds_minutes_or_hours() -> None:
    units = {}
    for longest in (179.0, 180.0, 10_799.0, 10_800.0):
        frame = pd.DataFrame({"step": [0, 1], "time/train_seconds": [1.0, longest]})
        units[longest] = next(axis.unit for axis in axes_of([run("a", frame)]) if axis.is_time)
    assert list(units.values()) == ["s", "min", "min", "h"]


def test_observations_are_rows_with_a_figure() -> None:
    frame = pd.DataFrame({"step": [0, 1, 2], "health/a": [1.0, np.nan, np.nan], "health/b": [np.nan, np.nan, 2.0]})
    assert observations([run("a", frame), run("b", frame[["step"]])], "health/") == {"a": 2, "b": 0}
