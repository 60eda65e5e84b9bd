from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from patchlight.reporting.collect import Run
from patchlight.reporting.plots import BINS, curve_names, group_curve, progress_name
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


def test_batches_of_several_sizes_are_compared_by_images() -> None:
    frame = pd.DataFrame({"step": [4, 4, 9], "images_seen": [20.0, np.nan, 40.0], "val/l1": [np.nan, 0.5, 0.4]})
    assert progress_name([run("a", frame), run("b", frame)]) == "step"
    assert progress_name([run("a", frame, 4), run("b", frame, 1)]) == "images_seen"
    without = frame.drop(columns="images_seen")
    assert progress_name([run("a", without, 4), run("b", frame, 1)]) == "step"
    # A validation stands where the batch before it stood.
    assert list(group_curve(group(frame), "val/l1", "images_seen")["progress"]) == [20, 40]
