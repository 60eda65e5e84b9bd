from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from patchlight.errors import DataError
from patchlight.reporting.collect import collect, read_run

MakeRun = Callable[..., Path]


def test_every_kind_of_run_is_found_with_what_became_of_it(sweep: Path) -> None:
    runs = collect([sweep])
    assert [run.name for run in runs] == sorted(run.name for run in runs)
    assert sum(run.finished for run in runs) == 12
    others = {run.name: (run.status, run.message) for run in runs if not run.finished}
    assert others["failed"] == ("failed", "the loss d_fake is not finite")
    assert others["left-out"] == ("left out", "no patch map is left of 16 px")
    assert others["running"][0] == "unfinished"
    assert others["broken"][0] == "unreadable"
    assert f"{sweep / 'broken' / 'metrics.json'} is damaged" in others["broken"][1]


def test_a_finished_run(make_run: MakeRun) -> None:
    folder = make_run("a", seed=4, figures={"l1": 0.25, "psnr": None}, best={"l1": 0.2})
    run = read_run(folder, "a")
    assert run.finished
    assert run.seed == 4
    assert run.figures["last"]["l1"] == 0.25
    assert math.isnan(run.figures["last"]["psnr"])
    assert run.figures["best"] == {"l1": 0.2}
    assert run.figures["untrained"] == {}
    assert run.protocol["split"] == "test"
    assert run.curves["step"].iloc[0] == 9


def test_the_seconds_of_a_run_stand_beside_its_curves(make_run: MakeRun) -> None:
    """By the images seen, which both files count: rows of a validation have those of the batch before."""
    folder = make_run("a", figures={"l1": 0.25})
    table = "step,images_seen,train_seconds,processor_seconds\n100,100,10.0,30.0\n2000,2000,105.0,300.0\n"
    (folder / "times.csv").write_text(table, encoding="utf-8")
    curves = read_run(folder, "a").curves
    rows = curves[curves["step"].isin([9, 99, 1049])]
    assert list(rows["val/l1"].notna()) == [False, False, True, False]
    assert list(rows["time/train_seconds"]) == pytest.approx([1.0, 10.0, 10.0, 57.5])
    assert list(rows["time/processor_seconds"]) == pytest.approx([3.0, 30.0, 30.0, 165.0])
    (folder / "times.csv").write_text("step,images_seen,train_seconds\n100,100,10.0\n", encoding="utf-8")
    assert read_run(folder, "a").message == f"{folder / 'times.csv'} is damaged: it has no column processor_seconds"


def test_what_is_not_a_run_is_passed_over(make_run: MakeRun) -> None:
    folder = make_run("group/a", figures={"l1": 0.25})
    inside = folder / "wandb" / "files"
    inside.mkdir(parents=True)
    for name in ("config.yaml", "manifest.json"):
        (inside / name).write_text("{}", encoding="utf-8")
    (folder.parent / "config.yaml").write_text("{}", encoding="utf-8")
    assert [run.name for run in collect([folder.parent.parent])] == ["group/a"]
    assert [run.name for run in collect([folder])] == ["a"]
    assert [run.name for run in collect([folder, folder.parent])] == ["a"]


def test_a_run_that_was_left_out_before_it_began(make_run: MakeRun) -> None:
    folder = make_run("b", outcome={"status": "left out", "message": "no map"})
    for path in folder.iterdir():
        if path.name != "outcome.json" and path.is_file():
            path.unlink()
    run = read_run(folder, "b")
    assert (run.status, run.message, run.config) == ("left out", "no map", {})


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.json", '{"last": ', "metrics.json is damaged: Expecting value"),
        ("metrics.json", "[]", "metrics.json is damaged: it should hold an object"),
        ("metrics.json", '{"last": {"l1": "low"}}', "metrics.json is damaged: last.l1 is 'low', not a number"),
        ("metrics.json", '{"last": [1]}', "metrics.json is damaged: last should be names with values"),
        ("manifest.json", "\x00", "manifest.json is damaged"),
        ("outcome.json", "{", "outcome.json is damaged"),
        ("alarms.json", "{}", "alarms.json is damaged: it should hold a list"),
        ("alarms.json", "[1]", "alarms.json is damaged: it should hold a list of objects"),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "- 1", "config.yaml is damaged"),
        ("config.yaml", "a: !!python/object/apply:os.system ['touch made']", "config.yaml is damaged: could not"),
        ("config.yaml", "a: &a [1]\nb: [*a, *a]", "config.yaml is damaged: it repeats a part of itself by an alias"),
        ("config.yaml", "a: " + "[" * 100_000, "config.yaml is damaged: it has more than 32 levels"),
        ("config.yaml", "a: 1" + "0" * 5000, "config.yaml is damaged: Exceeds the limit"),
        ("manifest.json", "[" * 100_000, "manifest.json is damaged: "),
        ("manifest.json", '{"hardware": {"gpus": 3}}', "manifest.json is damaged: hardware.gpus should be a list"),
        ("manifest.json", '{"git": 3}', "manifest.json is damaged: git should be names with values"),
        (
            "metrics.json",
            '{"last": {"l1": 1' + "0" * 400 + "}}",
            "metrics.json has a number at last.l1 that is too large",
        ),
        ("metrics.csv", "step,val/l1\n1,2,3,4\n", "metrics.csv is damaged"),
        ("metrics.csv", "step,val/l1\n1,low\n", "metrics.csv is damaged"),
        ("metrics.csv", "", "metrics.csv is damaged"),
        ("metrics.csv", "epoch\n1\n", "metrics.csv is damaged: it has no column step"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_go_on(make_run: MakeRun, file: str, content: str, message: str) -> None:
    make_run("good", figures={"l1": 0.25})
    folder = make_run("bad", figures={"l1": 0.25})
    (folder / file).write_text(content, encoding="utf-8")
    bad, good = collect([folder.parent])
    assert good.finished
    assert bad.status == "unreadable"
    assert str(folder) in bad.message
    assert message in bad.message
    assert "\n" not in bad.message


def test_interpolations_of_a_run_remain_texts(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the-secret")
    folder = make_run("a", figures={"l1": 0.25})
    (folder / "config.yaml").write_text("task: ${oc.env:SECRET}\na: ${b}\n", encoding="utf-8")
    assert read_run(folder, "a").config == {"task": "${oc.env:SECRET}", "a": "${b}"}


def test_a_finished_run_without_its_configuration(make_run: MakeRun) -> None:
    folder = make_run("a", figures={"l1": 0.25}, outcome={"status": "finished", "message": None})
    (folder / "config.yaml").unlink()
    assert read_run(folder, "a").message == f"{folder / 'config.yaml'} is missing"


def test_a_run_may_have_no_curves(make_run: MakeRun) -> None:
    folder = make_run("a", figures={"l1": 0.25})
    (folder / "metrics.csv").unlink()
    run = read_run(folder, "a")
    assert run.finished
    assert run.curves.empty


def test_folders_without_runs(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs=.*nowhere is no folder: give the folder of a run"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(
        DataError, match=r"holds no run: patchlight-train leaves a folder with config.yaml and manifest.json"
    ):
        collect([tmp_path])
    folder = make_run("a")
    (make_run("b", figures={"l1": 0.3}) / "metrics.json").write_text(json.dumps([]), encoding="utf-8")
    with pytest.raises(DataError, match=r"holds no finished run, but 1 unfinished, 1 unreadable; the first is .*/a: "):
        collect([folder.parent])
