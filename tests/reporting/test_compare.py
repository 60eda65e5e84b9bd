from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doc_blocks import blocks
from patchlight.errors import DataError
from patchlight.reporting import compare


def test_runs_are_compared_as_on_the_page(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/python.md, whose folder is that of a sweep of twelve runs in four groups."""
    (block,) = (block for block in blocks() if block.page.endswith("/python.md") and "compare" in block.text)
    (tmp_path / "logs/demo").mkdir(parents=True)
    (tmp_path / "logs/demo/sweeps").symlink_to(sweep)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block.text, names)
    comparison = names["comparison"]
    frame = comparison.frame()
    assert list(frame.index) == ["1 px", "16 px", "34 px", "70 px"]
    assert list(frame.columns) == ["l1 ↓", "psnr ↑", "lpips ↓", "frechet_alexnet ↓"]
    cell = comparison.table.cells[3, "psnr"]
    assert frame.loc["70 px", "psnr ↑"] == f"{cell.mean:.2f} ± {cell.std:.2f}"
    assert (cell.n, len(comparison.protocols)) == (3, 1)
    assert [plot.name for plot in comparison.plots()][:2] == ["key l1", "key psnr"]
    assert {run.status for run in comparison.runs} == {"finished", "failed", "left out", "unfinished", "unreadable"}
    curve = names["group_curve"](comparison.groups[3], "train/g_l1")
    assert list(curve.columns) == ["progress", "mean", "std", "n"]
    assert set(curve["n"]) == {3}


def test_weights_and_keys_left_out(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, weight in enumerate((10.0, 100.0)):
        figures, best = {"l1": 0.4 - 0.1 * seed}, {"l1": 0.2 - 0.1 * seed}
        make_run(f"{seed}", seed=seed, figures=figures, best=best, changes={"model.lambda_l1": weight})
    root = tmp_path / "runs"
    assert [group.label for group in compare([root]).groups] == ["lambda_l1=10", "lambda_l1=100"]
    for weights, mean in (("last", 0.35), ("best", 0.15)):
        comparison = compare([root], weights=weights, ignore=["model.lambda_l1"])
        assert comparison.table.cells[0, "l1"].mean == pytest.approx(mean)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no run"):
        compare([tmp_path / "empty"])
