from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from patchlight.reporting.collect import collect
from patchlight.reporting.differences import find_differences
from patchlight.reporting.protocols import Protocol, Protocols
from patchlight.reporting.table import Cell, Column, Table, direction, make_groups, make_table
from patchlight.reporting.words import verdict_sentences
from patchlight.reporting.write import markdown, terminal, write_runs_csv, write_table_csv

MakeRun = Callable[..., Path]


def table_of(root: Path, weights: str = "last") -> Table:
    runs = [run for run in collect([root]) if run.finished]
    return make_table(make_groups(runs, find_differences(runs)), weights, Protocols(runs, weights))


def test_means_and_sample_deviations(make_run: MakeRun) -> None:
    values = [0.25, 0.27, 0.32]
    for seed, value in enumerate(values):
        root = make_run(f"a{seed}", seed=seed, figures={"l1": value, "psnr": 15.0}).parent
    make_run("b", n_layers=1, figures={"l1": 0.4, "psnr": 14.0})
    table = table_of(root)
    assert [group.label for group in table.groups] == ["16 px", "70 px"]
    assert [group.seeds for group in table.groups] == ["0", "0, 1, 2"]
    cell = table.cells[1, "l1"]
    assert cell.mean == pytest.approx(statistics.mean(values))
    assert cell.std == pytest.approx(statistics.stdev(values))
    assert (cell.n, cell.seeds, cell.mark) == (3, 3, "best")
    assert cell.text(table.columns[0]) == "0.2800 ± 0.0361"
    single = table.cells[0, "l1"]
    assert single.text(table.columns[0]) == "0.4000 (n = 1)"
    assert single.spread(table.columns[0]) == "n = 1"
    assert table.cells[1, "psnr"].mark == "best"
    assert table.cells[0, "psnr"].mark == ""


def test_nan_is_shown_and_is_the_worst(make_run: MakeRun) -> None:
    for seed, value in enumerate([math.nan, 0.1]):
        root = make_run(f"a{seed}", seed=seed, figures={"l1": value, "psnr": value}).parent
    for seed in (0, 1):
        make_run(f"b{seed}", n_layers=1, seed=seed, figures={"l1": 0.9, "psnr": 1.0})
    table = table_of(root)
    l1, psnr = table.columns
    cell = table.cells[1, "l1"]
    assert math.isnan(cell.mean)
    assert cell.text(l1) == "NaN (n = 2)"
    assert l1.sorting(cell.mean) == "Infinity"
    assert psnr.sorting(table.cells[1, "psnr"].mean) == "-Infinity"
    assert (table.cells[0, "l1"].mark, table.cells[0, "psnr"].mark) == ("best", "best")


def test_protocols_never_share_a_column(make_run: MakeRun, protocol: dict[str, Any]) -> None:
    make_run("a", figures={"l1": 0.1, "psnr": 15.0}, protocol=protocol)
    root = make_run("b", seed=1, figures={"l1": 0.2}, protocol=protocol | {"images": 5}).parent
    table = table_of(root)
    assert [column.name for column in table.columns] == ["l1 (protocol A)", "l1 (protocol B)", "psnr"]
    assert (table.cells[0, "l1 (protocol A)"].mean, table.cells[0, "l1 (protocol A)"].n) == (0.1, 1)
    assert (table.cells[0, "l1 (protocol B)"].mean, table.cells[0, "l1 (protocol B)"].n) == (0.2, 1)


def test_groups_stand_in_natural_order(make_run: MakeRun) -> None:
    for i, size in enumerate([1, 16, 2, None]):
        root = make_run(str(i), figures={"l1": 0.1}, changes={"data.max_train": size}).parent
    assert [group.label for group in table_of(root).groups] == [f"max_train={size}" for size in ("none", 1, 2, 16)]


def test_seeds_that_occur_twice(make_run: MakeRun) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        root = make_run(name, seed=seed, figures={"l1": 0.1}).parent
    assert table_of(root).groups[0].repeated_seeds == ["0"]


def test_a_single_group_has_no_best(make_run: MakeRun) -> None:
    table = table_of(make_run("a", figures={"l1": 0.1}).parent)
    assert (table.cells[0, "l1"].mark, table.verdicts) == ("", {})


def test_one_seed_wins_nothing_and_what_seeds_do_not_tell_apart_is_a_tie(make_run: MakeRun) -> None:
    figures = {1: [0.30, 0.32], 2: [0.31, 0.315], 3: [0.1], 4: [0.9, 0.9]}
    for n_layers, values in figures.items():
        for seed, value in enumerate(values):
            psnr = {1: 10.0, 2: 10.0, 3: 5.0, 4: 1.0}[n_layers] + value
            name = f"{n_layers}-{seed}"
            root = make_run(name, n_layers=n_layers, seed=seed, figures={"l1": value, "psnr": psnr}).parent
    table = table_of(root)
    assert [table.cells[i, "l1"].mark for i in range(4)] == ["", "", "", ""]
    assert [table.cells[i, "psnr"].mark for i in range(4)] == ["tied", "tied", "", ""]
    sentences = dict(verdict_sentences(table))
    assert sentences["l1"].startswith("not decided. 70 px has the best mean, of one seed: ")
    assert sentences["psnr"] == "a tie of 16 px, 34 px. They differ by no more than their seeds do."
    text = markdown(table, find_differences([run for run in collect([root]) if run.finished]))
    assert "**10.31 ± 0.004 tie**" in text
    assert "**0.1" not in text


def test_seeds_that_occur_twice_decide_nothing(make_run: MakeRun) -> None:
    for name, n_layers, seed in (("a", 1, 0), ("b", 1, 0), ("c", 2, 0), ("d", 2, 1)):
        root = make_run(name, n_layers=n_layers, seed=seed, figures={"l1": 0.1 * n_layers + 0.001 * seed}).parent
    table = table_of(root)
    assert (table.cells[0, "l1"].n, table.cells[0, "l1"].seeds) == (2, 1)
    assert table.cells[0, "l1"].mark == ""


@pytest.mark.parametrize(
    ("metric", "better"),
    [("l1", -1), ("rec_A/lpips", -1), ("fid", -1), ("frechet_alexnet", -1), ("fake_B/kernel_alexnet", -1), ("kid", -1),
     ("psnr", 1), ("ms_ssim", 1), ("accuracy", 0)],
)  # fmt: skip
def test_directions(metric: str, better: int) -> None:
    assert direction(metric) == better


def test_metrics_of_the_configuration_say_their_direction() -> None:
    described = {"own": {"better": "higher"}, "l1": {"what": "mean"}, "unsaid": {"better": None}}
    protocols = [Protocol("A", {}, {}), Protocol("B", {}, described)]
    assert [direction(name, protocols) for name in ("own", "fake_B/own", "l1", "unsaid")] == [1, 1, -1, 0]


def test_texts_of_figures() -> None:
    column = Column("psnr", "psnr", ("A",), 1, 2)
    assert [column.text(value) for value in (14.987, math.nan, math.inf, -math.inf)] == ["14.99", "NaN", "∞", "-∞"]
    assert column.arrow == "↑"
    assert Column("x", "x", ("A",), 0, 2).sorting(math.nan) == "Infinity"
    assert Cell(1.0, 0.5, 2, 2).text(column) == "1.00 ± 0.50"
    assert Cell(1.0, 0.0023, 2, 2).text(column) == "1.00 ± 0.002"
    assert Cell(1.0, 0.0, 2, 2).text(column) == "1.00 ± 0.00"


def test_files(sweep: Path, tmp_path: Path) -> None:
    runs = collect([sweep])
    finished = [run for run in runs if run.finished]
    settings = find_differences(finished)
    protocols = {weights: Protocols(finished, weights) for weights in ("last", "best", "untrained")}
    table = make_table(make_groups(finished, settings), "last", protocols["last"])
    write_table_csv(tmp_path / "table.csv", table)
    write_runs_csv(tmp_path / "runs.csv", runs, find_differences(runs), protocols)

    groups = pd.read_csv(tmp_path / "table.csv")
    assert list(groups["receptive_field"]) == [1, 16, 34, 70]
    assert list(groups["seeds"]) == ["0 1 2"] * 4
    deep = [run.figures["last"]["lpips"] for run in finished if run.name.startswith("3-")]
    assert groups["lpips_mean"][3] == pytest.approx(statistics.mean(deep), rel=1e-12)
    assert groups["lpips_std"][3] == pytest.approx(statistics.stdev(deep), rel=1e-12)
    assert list(groups["lpips_n"]) == [3] * 4

    each = pd.read_csv(tmp_path / "runs.csv").set_index("run")
    assert len(each) == 16
    assert each.at["failed", "status"] == "failed"
    assert math.isnan(each.at["failed", "last/l1"])
    assert each.at["3-1", "last/lpips"] == pytest.approx(deep[1], rel=1e-12)
    assert each.at["3-1", "best/protocol"] == "A"
    assert each.at["left-out", "model.discriminator.n_layers"] == 4

    lines = markdown(table, settings).splitlines()
    settings_part = "| discriminator | n_layers | receptive field | patch map | seeds "
    assert lines[0] == f"{settings_part}| l1 ↓ | psnr ↑ | lpips ↓ | frechet_alexnet ↓ |"
    assert len(lines) == 6
    assert lines[2].startswith("| PixelDiscriminator | - | 1 | 128x128 | 0, 1, 2 | 0.")
    assert f"**{statistics.mean(deep):.4f} ± {statistics.stdev(deep):.4f}**" in lines[5]

    console = Console(file=StringIO(), width=140)
    console.print(terminal(table, settings))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{statistics.mean(deep):.4f} ± {statistics.stdev(deep):.4f}" in shown


def test_csv_of_nan_and_of_one_run(make_run: MakeRun, tmp_path: Path) -> None:
    root = make_run("a", figures={"l1": math.nan, "psnr": 3.0}).parent
    write_table_csv(tmp_path / "table.csv", table_of(root))
    header, line = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert header == "runs,seeds,l1_mean,l1_std,l1_n,psnr_mean,psnr_std,psnr_n"
    assert line == "1,0,NaN,,1,3.0,,1"
