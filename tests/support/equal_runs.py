"""Compares runs that should have computed the same, on one process and on several ranks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_equal(one: Path, two: Path) -> None:
    """Weights and training losses to 1e-9; metrics, which are summed in float32, to 1e-5."""
    states = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (one, two)]
    for kind in ("state_dict", "ema"):
        for name, value in states[0].get(kind, {}).items():
            np.testing.assert_allclose(states[1][kind][name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    tables = rows(one), rows(two)
    assert len(tables[0]) == len(tables[1]) > 20
    for a, b in zip(*tables, strict=True):
        for name in a:
            tolerance = 1e-9 if name.startswith("train/") else 1e-5
            assert float(b[name] or "nan") == pytest.approx(float(a[name] or "nan"), rel=tolerance, nan_ok=True), name
