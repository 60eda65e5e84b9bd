"""The table at the end of a sweep: its order, its figures by the terminal's width, and what comes next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rich
from rich.console import Console

from patchlight.sweeps.summary import Job, order_of, print_summary
from patchlight.system.job_record import JobRecord


def job(label: str, l1: float | None, status: str = "finished", objective: Any = None, **more: Any) -> Job:
    figures = {"l1": l1, "psnr": 20.0, "ssim": 0.5, "rec_A/l1": 0.1}
    metrics = {"last": figures, "protocol": {"best_is": "min val/l1", "metrics": {}}} | more if l1 is not None else {}
    return Job(label, status, "no room" if status == "failed" else None, objective, metrics)


def rows(text: str) -> list[list[str]]:
    lines = (line.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "|").strip("|") for line in text.splitlines())
    return [[cell.strip() for cell in line.split("|")] for line in lines if "|" in line]


def test_jobs_are_in_the_order_of_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job("a", 0.3), job("b", None, "failed"), job("c", 0.2), job("d", 0.2)]
    print_summary(tmp_path / "my sweep", jobs)
    out = capsys.readouterr().out
    figures = ["20.0000", "0.5000"]
    assert rows(out) == [
        ["1", "c", "finished", "0.2000", *figures], ["1", "d", "finished", "0.2000", *figures],
        ["3", "a", "finished", "0.3000", *figures], ["", "b", "failed", "", "", ""],
    ]  # fmt: skip
    assert "test/l1 " in out
    assert "failed: b: no room" in out
    assert "in the order of test/l1 of the last weights, lower is better;" in out
    assert f"\n  patchlight-report 'runs={tmp_path}/my sweep'\n" in out
    assert out.splitlines()[-1] == f"4 jobs: 3 finished, 1 failed, 0 left out; in {tmp_path}/my sweep"


@pytest.mark.parametrize(
    ("name", "protocol", "higher"),
    [("val/psnr", {}, True), ("val/l1", {}, False), ("test/own", {"own": {"better": "higher"}}, True),
     ("test/rec_A/own", {"own": {"better": "lower"}}, False)],
)  # fmt: skip
def test_an_objective_goes_before(name: str, protocol: dict[str, Any], higher: bool) -> None:
    described = {"best_is": "min val/l1", "metrics": protocol}
    jobs = [
        job(x, 0.3, objective=(name, value), protocol=described) for x, value in (("a", 0.5), ("b", None), ("c", 0.7))
    ]
    order = order_of(jobs, "last")
    assert order is not None
    assert (order.name, order.higher_is_better, order.values) == (name, higher, {"a": 0.5, "c": 0.7})
    assert [order.rank(label) for label in "abc"] == ([2, None, 1] if higher else [1, None, 2])


def test_there_is_no_order_without_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job("a", None), job("b", None, "left out")]
    assert order_of(jobs, "last") is None
    print_summary(tmp_path, jobs)
    out = capsys.readouterr().out
    assert "in the order of" not in out
    assert "patchlight-report" not in out
    assert rows(out) == [["", "a", "finished"], ["", "b", "left out"]]


@pytest.mark.parametrize(("width", "shown"), [(50, []), (60, ["l1"]), (80, ["l1", "psnr", "ssim"])])
def test_figures_have_room(width: int, shown: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    console = Console(width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(rich, "_console", console)
    with console.capture() as captured:
        print_summary(tmp_path, [job("discriminator=patch70", 0.25), job("discriminator=pixel", 0.125)])
    table = [line for line in captured.get().splitlines() if "discriminator=" in line and "finished" in line]
    assert [len(line) <= width for line in table] == [True, True]
    assert [value in line for value, line in zip(("0.1250", "0.2500"), table, strict=True)] == [bool(shown)] * 2
    assert [name for name in ("l1", "psnr", "ssim") if f"test/{name}" in captured.get().splitlines()[1]] == shown


def test_a_job_s_figures_are_those_of_its_folder(tmp_path: Path) -> None:
    outcome = {"status": "finished", "message": None, "objective": {"name": "val/l1", "value": None}}
    record = JobRecord("x", label="a", folder=str(tmp_path), outcome=outcome)
    assert Job.of(record) == Job("a", "finished", None, ("val/l1", None), {})
    (tmp_path / "metrics.json").write_text(json.dumps({"last": {"l1": 0.5}}))
    assert Job.of(record).metrics == {"last": {"l1": 0.5}}
