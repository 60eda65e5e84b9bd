"""`patchlight-report` as it is typed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from commands import Outcome, Typed

MakeRun = Callable[..., Path]
Type = Callable[..., Outcome]

WATCHED = """
import sys
from patchlight.cli.report import main
sys.argv[0] = "patchlight-report"
try:
    main()
finally:
    watched = {"torch", "lightning", "torchvision", "torchmetrics", "wandb", "cv2", "pandas", "matplotlib", "jinja2"}
    print("imported:", *sorted(watched & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def typed(typed: Typed) -> Type:
    """Runs the command in `tmp_path`: exit status, what it printed and what it complained about."""
    return partial(typed, "report")


def test_a_report_needs_no_torch(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", figures={"l1": 0.3})
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "runs=runs"], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        check=True,
    )  # fmt: skip
    assert done.stderr == "imported: jinja2 matplotlib pandas\n"
    # Nothing is written but the report.
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_it_writes_everything_and_says_where(sweep: Path, tmp_path: Path, typed: Type) -> None:
    status, printed, complaints = typed(f"runs={sweep}", "output=out", "title=Depth")
    assert (status, complaints) == (0, "")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"index.html", "table.csv", "runs.csv", "table.md", "plots"}
    assert (tmp_path / "out" / "plots" / "key_lpips.png").is_file()
    assert "<title>Depth</title>" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "| receptive field | seeds " in printed
    assert "not in the table: failed: failed. the loss d_fake is not finite" in printed
    assert [line.split() for line in printed.splitlines()[-5:]] == [
        ["page", "out/index.html"],
        ["table", "out/table.csv"],
        ["table", "out/runs.csv"],
        ["table", "out/table.md"],
        ["plots", "out/plots", "(8", "PNG", "files)"],
    ]


def test_the_report_lies_beside_the_runs_and_is_none(make_run: MakeRun, typed: Type) -> None:
    root = make_run("a", figures={"l1": 0.3}, best={"l1": 0.2}).parent
    for weights, expected in (("last", "0.3000 (n = 1)"), ("best", "0.2000 (n = 1)")):
        assert typed("runs=runs", f"weights={weights}")[0] == 0
        assert expected in (root / "report" / "table.md").read_text(encoding="utf-8")


def test_several_folders(make_run: MakeRun, typed: Type, tmp_path: Path) -> None:
    for name in ("x/a", "y/a"):
        make_run(name, figures={"l1": 0.3})
    assert typed("runs=[runs/x,runs/y]", "output=out")[0] == 0
    lines = (tmp_path / "out" / "runs.csv").read_text(encoding="utf-8").splitlines()
    assert [line.partition(",")[0] for line in lines] == ["run", "x/a", "y/a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "runs is not set: give runs=DIR"),
        (["runs=nowhere"], "runs=nowhere is no folder"),
        (["runs=."], "runs=. holds no run"),
        (["runs=[]"], "runs is empty: give runs=DIR"),
        (["run=x"], "run is no key of the configuration: did you mean runs?"),
        (["runs=x", "weights=first"], "weights=first should be 'last', 'best' or 'untrained'"),
        (["runs=x", "title=3"], "title=3 should be a valid string"),
    ],
)
def test_what_is_wrong_is_one_message(arguments: list[str], message: str, typed: Type) -> None:
    status, _, complaints = typed(*arguments)
    assert status == 1
    assert complaints.startswith(f"patchlight-report: {message}")
    assert complaints.count("\n") == 1


def test_an_output_that_cannot_be_written(make_run: MakeRun, tmp_path: Path, typed: Type) -> None:
    make_run("a", figures={"l1": 0.3})
    (tmp_path / "file").write_text("", encoding="utf-8")
    status, _, complaints = typed("runs=runs", "output=file/report")
    assert status == 1
    assert complaints.startswith("patchlight-report: file")
    assert complaints.endswith("choose another folder with output=DIR\n")
