"""Sweeps of real trainings."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import Forked

SMALL = (
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "data.image_size=32", "data.load_size=36", "data.num_workers=0", "logger=csv", "trainer=cpu", "data.val_size=2",
    "model.schedule.n_epochs=1", "model.schedule.n_epochs_decay=0", "data=paired", "callbacks.patch_maps=null",
)  # fmt: skip


@pytest.fixture
def small(tiny_sets: Callable[[str], Path]) -> tuple[str, ...]:
    return (*SMALL, f"data.root={tiny_sets('paired')}")


OWN_MODULE = f"--config-dir={Path(__file__).resolve().parents[2] / 'examples' / 'schedule'}"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """As a user does, where processes of the command's own are the point."""
    return subprocess.Popen(
        [sys.executable, "-m", "patchlight", "train", *arguments], cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def outcome(folder: Path) -> Any:
    return json.loads((folder / "outcome.json").read_text())


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def last_of(run: Path, name: str) -> float:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]][-1]


@pytest.mark.covered
def test_a_run_writes_its_outcome(patchlight_train: Any, small: tuple[str, ...], tmp_path: Path) -> None:
    command = (*small, "model.discriminator.n_layers=1", "hydra.run.dir=run")
    assert patchlight_train(*command, "objective=val/psnr").status == 0
    found = outcome(tmp_path / "run")
    assert found["status"] == "finished"
    assert found["overrides"] == [*command[:-1], "objective=val/psnr"]
    assert found["objective"]["name"] == "val/psnr"
    assert found["objective"]["value"] == pytest.approx(last_of(tmp_path / "run", "val/psnr"), rel=1e-6)
    assert 0 < found["seconds"] < 300

    assert patchlight_train(*command).status == 1  # the folder holds a run: its outcome stays
    assert outcome(tmp_path / "run") == found

    result = patchlight_train(*command, "hydra.run.dir=bad", "model.optimizer.lr=1e30", "objective=test/l1")
    assert result.status == 1
    assert result.err.count("\n") == 1
    found = outcome(tmp_path / "bad")
    assert found["status"] == "failed"
    assert "training stopped" in found["message"]
    assert result.err == f"patchlight-train: {found['message']}\n"
    assert found["objective"] == {"name": "test/l1", "value": None}


def test_an_objective_without_images(patchlight_train: Any, small: tuple[str, ...], tmp_path: Path) -> None:
    result = patchlight_train(*small, "model.discriminator.n_layers=1", "data.val_size=0", "objective=val/l1")
    assert result.status == 1
    assert "objective=val/l1 needs images of the val split, and the run looks at none" in result.err
    assert not list(tmp_path.glob("logs/*/runs/*"))


# Slow: two sweeps of four trainings each, of which half fail or are skipped.
def test_a_failed_job_is_run_again_and_the_finished_are_not(
    patchlight_train: Any, small: tuple[str, ...], tmp_path: Path
) -> None:
    good, missing = small[-1].removeprefix("data.root="), tmp_path / "missing"
    command = ("sweep=seeds", *small[:-1], "model.discriminator.n_layers=1", "seed=0,1", f"data.root={missing},{good}")
    result = patchlight_train(*command)
    assert result.status == 1
    assert result.err.count(f"data.root={missing} is not a folder") == 2
    assert "Traceback" not in result.err
    assert "4 jobs: 2 finished, 2 failed, 0 left out" in result.out
    sweep = only(tmp_path / "logs/train/sweeps")
    jobs = {path.parent: outcome(path.parent)["status"] for path in sweep.glob("*/outcome.json")}
    assert sorted(jobs.values()) == ["failed", "failed", "finished", "finished"]
    finished = [folder for folder, status in jobs.items() if status == "finished"]
    assert {p.name for folder in jobs for p in folder.glob("checkpoints/last.ckpt")} == {"last.ckpt"}
    written = {folder: (folder / "checkpoints/last.ckpt").stat().st_mtime_ns for folder in finished}

    missing.symlink_to(good)
    result = patchlight_train(*command)
    assert result.status == 0, result.err
    assert "4 jobs: 4 finished, 0 failed, 0 left out" in result.out
    assert result.out.count("is finished already") == 2
    assert {folder: (folder / "checkpoints/last.ckpt").stat().st_mtime_ns for folder in finished} == written
    assert {outcome(folder)["status"] for folder in jobs} == {"finished"}


# Slow: four trainings, one for each patch size that fits.
def test_patch_sizes_that_leave_an_empty_map_are_left_out(
    patchlight_train: Any, small: tuple[str, ...], tmp_path: Path
) -> None:
    result = patchlight_train("sweep=patch_size", *small, "trainer.max_steps=1", "objective=test/l1")
    assert result.status == 0, result.err
    assert "6 jobs: 4 finished, 0 failed, 2 left out" in result.out
    assert "left out: discriminator=patch142: model.discriminator leaves an empty patch map for data." in result.out
    fields = {}
    for folder in only(tmp_path / "logs/train/sweeps").glob("discriminator=*"):
        found = outcome(folder)
        if found["status"] == "finished":
            assert found["objective"]["value"] == json.loads((folder / "metrics.json").read_text())["last"]["l1"]
            manifest = json.loads((folder / "manifest.json").read_text())
            fields[folder.name] = manifest["discriminators"]["discriminator"]["receptive_field"]
        else:
            assert list(folder.iterdir()) == [folder / "outcome.json"]
            fields[folder.name] = found["status"]
    assert fields == {
        "discriminator=pixel": 1, "discriminator=patch16": 16, "discriminator=patch34": 34, "discriminator=patch70": 70,
        "discriminator=patch142": "left out", "discriminator=patch286": "left out",
    }  # fmt: skip


@pytest.mark.slow
def test_jobs_side_by_side(small: tuple[str, ...], tmp_path: Path) -> None:
    """With a schedule of a module that is not installed, which the processes of the jobs find."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = start(
        tmp_path, OWN_MODULE, "model/schedule=warm_up", "sweep=seeds", "launcher=joblib", *small, "seed=0",
        "model.discriminator.n_layers=1", "trainer.max_steps=2", "model.optimizer.lr=0.0002,1e30",
    )  # fmt: skip
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 1, err
    assert "2 jobs: 1 finished, 1 failed, 0 left out" in out
    sweep = only(tmp_path / "logs/train/sweeps")
    assert outcome(sweep / "lr=0.0002")["status"] == "finished"
    assert "training stopped" in outcome(sweep / "lr=1e+30")["message"]
    assert torch.load(sweep / "lr=0.0002/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.slow
def test_sigterm_reaches_jobs_side_by_side(small: tuple[str, ...], tmp_path: Path) -> None:
    """They are saved, and no process is left."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = start(
        tmp_path, "sweep=seeds", "launcher=joblib", *small, "model.discriminator.n_layers=1",
        "model.schedule.n_epochs=2000", "callbacks.last.every_n_epochs=2000", "callbacks.last.every_n_minutes=null",
    )  # fmt: skip
    deadline = time.monotonic() + 1200
    while len({path.parents[1] for path in tmp_path.glob("logs/train/sweeps/*/*/samples/*.png")}) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143, err
    assert err.count("SIGTERM: saved in") == 2
    sweep = only(tmp_path / "logs/train/sweeps")
    assert {path.parents[1].name for path in sweep.glob("*/checkpoints/last.ckpt")} == {"seed=0", "seed=1"}
    assert not list(sweep.glob("*/outcome.json"))
    deadline = time.monotonic() + 120
    with suppress(ProcessLookupError):
        while True:
            os.killpg(process.pid, 0)
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on(small: tuple[str, ...], tmp_path: Path) -> None:
    """SIGKILL to everything once four of eight trials are complete."""
    pytest.importorskip("optuna")
    command = (
        "sweep=optuna", *small, "hydra.sweeper.n_trials=8", "model.discriminator.n_layers=choice(1,2)",
        "model.schedule.n_epochs=2",
    )  # fmt: skip
    process = Forked("train", *command, folder=tmp_path)
    deadline = time.monotonic() + 1200
    while len(complete(tmp_path)) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = complete(tmp_path)
    assert len(before) == 4

    process = Forked("train", *command, folder=tmp_path)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    assert err == ""
    assert "going on with the search: 4 of 8 trials are there" in out
    after = complete(tmp_path)
    assert len(after) == 8
    assert after[:4] == before
    assert len(set(after)) == 8
    sweep = only(tmp_path / "logs/train/sweeps")
    outcomes = [outcome(folder) for folder in sweep.iterdir() if folder.is_dir()]  # that of the killed trial, too
    assert sorted(o["objective"]["value"] for o in outcomes) == sorted(value for _, value in after)
    assert f"best of all: {min(value for _, value in after)} with" in out


def complete(folder: Path) -> list[tuple[int, float]]:
    """Number and value of the trials that are complete."""
    found = list(folder.glob("logs/train/sweeps/*/optuna.db"))
    if not found:
        return []
    query = "select number, value from trials join trial_values using (trial_id) where state = 'COMPLETE'"
    with sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True, timeout=10) as database:
        try:
            return sorted(database.execute(query).fetchall())
        except sqlite3.OperationalError:
            return []  # the tables are being made
