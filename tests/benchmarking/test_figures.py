"""Ratios, exponents and tables of what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchlight.benchmarking import Comparison, Results, exponent, write_bench

STEP = Comparison(
    "a step", plain=[1.0, 4.0, 2.0], ours=[0.5, 1.0, 2.0], plain_peak=2**31, ours_peak=2**30, notes={"flops": 3e9}
)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert STEP.ratios() == [1.0, 2.0, 4.0]
    assert STEP.ratio == 2.0
    assert STEP.memory_ratio == 0.5
    assert Comparison("x", plain=[1.0], ours=[1.0]).memory_ratio is None


def test_an_exponent_is_the_slope_in_logarithms() -> None:
    assert exponent([1, 10, 100], [3, 30, 300]) == pytest.approx(1.0)
    assert exponent([4, 16], [10, 5]) == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="two different sizes"):
        exponent([2, 2], [1, 3])


def test_the_files(tmp_path: Path) -> None:
    overhead = Comparison("all of it", plain=[1.0], ours=[1.04], against="bare", notes={"overhead": 0.04})
    begun = Comparison("begun", plain=[2.0, 2.0], ours=[3.0, 2.5], against="import", notes={"of_the_time": 1.37})
    results = Results(
        machine={"processor": "Some", "cores": 2, "gpus": []}, precision="32-true", rounds=3, peaks={"float32": 6e9},
        comparisons=[STEP, overhead, begun],
        scaling={
            "pixels": {
                "values": [1.0, 4.0], "seconds": [0.1, 2.0], "peak_bytes": [1, 2], "time_exponent": 1.04,
                "memory_exponent": 0.5,
            }
        },
    )  # fmt: skip
    data, table = write_bench(results, tmp_path / "new")
    content = json.loads(data.read_text())
    assert content["comparisons"][0]["times_faster"] == {"median": 2.0, "lowest": 1.0, "highest": 4.0}
    assert content["comparisons"][0]["ours"] == {"values": [0.5, 1.0, 2.0], "median": 1.0, "peak_bytes": 2**30}
    assert content["comparisons"][1]["overhead"] == 0.04
    assert content["matmul_flops_per_second"] == {"float32": 6e9}
    text = table.read_text()
    assert "Some, 2 cores, no GPU; precision of ours 32-true; medians of 3 rounds" in text
    # 3e9 operations in a second of the 6e9 that there could be.
    assert "| a step | 2.00 s | 1.00 s | 2.00 (1.00 to 4.00) | 1.0 of 2.0 GiB | 50% |" in text
    assert "| all of it, against: bare | 1.00 s | 1.04 s | +4.0% time |" in text
    assert "| begun, against: import | 2.00 s | 2.75 s | 1.36 (1.25 to 1.50) of the time |" in text
    assert "| pixels | 1: 100 ms, 4: 2.00 s | 1.04 | 0.50 |" in text
