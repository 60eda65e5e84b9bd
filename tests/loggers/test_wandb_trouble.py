"""A W&B that is down, slow or full stops nothing, and is told of once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from wandb_files import read_runs
from wandb_server import Behaviour, wandb_server

from patchlight.build import warming_up_loggers
from patchlight.config.compose import compose_config
from patchlight.loggers import MetricsCSV, WandbRun, wandb_id
from patchlight.loggers.wandb_session import warming_up

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def _fresh_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """W&B reads its variables once per process."""
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    yield
    wandb.teardown()


def run_of(folder: Path) -> float:
    """Log a small run to a W&B that is expected online; the seconds that it took."""
    begun = time.monotonic()
    run = WandbRun(save_dir=folder, init_timeout=2, finish_timeout=2)
    run.open({"seed": 1})
    for step in range(3):
        run.log_metrics({"x": float(step), "images_seen": step}, step=step)
    run.finalize("success")
    run.close(0)
    return time.monotonic() - begun


def test_trouble_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = WandbRun(save_dir=tmp_path, offline=True, id="abc")
    calls = []

    def broken(**settings: Any) -> Any:
        calls.append(1)
        raise ConnectionResetError("gone")

    monkeypatch.setattr("wandb.init", broken)
    logger.open({})
    logger.log_metrics({"loss": 1.0}, step=0)
    _ = logger.experiment.name  # as Lightning does
    logger.close(0)
    assert len(calls) == 1
    assert capsys.readouterr().err == "W&B failed (ConnectionResetError: gone); the run goes on without it\n"
    assert wandb_id([logger]) == "abc"
    assert wandb_id([MetricsCSV(tmp_path)]) is None


def test_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with wandb_server("works") as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        run_of(tmp_path)
    assert [row["x"] for row in server.rows] == [0, 1, 2]
    printed = capsys.readouterr()
    assert printed.out.startswith(f"W&B run: {server.url}/someone/patchlight/runs/")
    assert printed.err == ""


AT_FIRST: dict[str, tuple[Behaviour, str]] = {
    "forbidden": (403, "returned error 403"),
    "failing": (500, "HTTP 500"),
    "over quota": (429, "HTTP 429"),
    "silent": ("is silent", "deadline exceeded"),
}


@pytest.mark.parametrize("trouble", ["closed port", *AT_FIRST])
def test_a_server_that_is_of_no_use(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour, reason = AT_FIRST.get(trouble, ("works", "connection refused"))
    with wandb_server(behaviour) as server:
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9" if trouble == "closed port" else server.url)
        assert run_of(tmp_path) < 25
    (found,) = read_runs(tmp_path)
    printed = capsys.readouterr()
    assert printed.err.startswith("W&B cannot be used (Failed to get resume status")
    assert reason in printed.err
    assert printed.err.endswith(f"`wandb sync wandb/{found.folder.name}` sends it later\n")
    assert printed.err.count("\n") == 1
    assert found.folder.name.startswith("offline-run-")
    assert [row["x"] for row in found.history] == [0, 1, 2]
    assert (found.config["seed"], found.exit_code) == (1, 0)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [(403, "Fatal error while uploading data"), (500, "not done after 2 s"), ("is silent", "not done after 2 s")],
)
def test_a_server_that_fails_later(
    behaviour: Behaviour, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with wandb_server("works", then=behaviour) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert run_of(tmp_path) < 25
    (found,) = read_runs(tmp_path)
    err = capsys.readouterr().err
    assert reason in err
    assert err.endswith(f"`wandb sync wandb/{found.folder.name}` sends it later\n")
    assert err.count("\n") == 1
    assert [row["x"] for row in found.history] == [0, 1, 2]


def test_no_account_asks_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    run_of(tmp_path)
    err = capsys.readouterr().err
    assert err.startswith("W&B cannot be used (No API key configured. Use `wandb login` to log in.): the run is kept")
    assert err.count("\n") == 1
    assert len(read_runs(tmp_path)[0].history) == 3


@pytest.mark.parametrize(("mode", "folders"), [("offline", 1), ("disabled", 0)])
def test_the_variable_decides(
    mode: str, folders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    run_of(tmp_path)
    assert len(read_runs(tmp_path)) == folders
    assert capsys.readouterr() == ("", "")


def test_a_service_that_dies(tmp_path: Path, capsys: Any) -> None:
    """The next run of the process has a service of its own again."""
    for number in range(2):
        run = WandbRun(save_dir=tmp_path / str(number), offline=True)
        run.open({})
        if number == 0:
            (pid,) = services()
            os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.5)
        for step in range(3):
            run.log_metrics({"x": 1.0}, step=step)
        run.close(0)
    assert capsys.readouterr().err.count("W&B failed") == 1
    (found,) = read_runs(tmp_path / "1")
    assert (len(found.history), found.exit_code) == (3, 0)


def services() -> list[str]:
    command = ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def test_warming_up_starts_the_service_and_leaves_no_trace(tmp_path: Path, capfd: Any) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    before = services()
    with warming_up():
        pass
    after = services()
    assert len(set(after) - set(before)) == 1
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert list(tmp_path.iterdir()) == []
    run = WandbRun(save_dir=tmp_path, offline=True)
    run.open({})
    run.close(0)
    assert services() == after
    assert len(read_runs(tmp_path)) == 1
    assert capfd.readouterr() == ("", "")


def test_a_service_that_does_not_start_is_told_of_by_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def broken(**settings: Any) -> None:
        raise PermissionError("no service")

    monkeypatch.setattr("wandb.setup", broken)
    with warming_up():
        pass
    assert capfd.readouterr() == ("", "")
    WandbRun(save_dir=tmp_path, offline=True).open({})
    assert capfd.readouterr().err == "W&B failed (PermissionError: no service); the run goes on without it\n"


def test_only_the_rank_that_logs_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchlight.build.warming_up", lambda: nullcontext("warm"))
    for logger, first, warm in (("default", True, "warm"), ("default", False, None), ("csv", True, None)):
        monkeypatch.setattr("patchlight.build.is_first", lambda first=first: first)
        with warming_up_loggers(compose_config("train", [f"logger={logger}"])) as found:
            assert found == warm


@pytest.mark.parametrize("key", ["init_timeout", "finish_timeout"])
def test_timeouts_are_positive(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{key} must be a positive number of seconds, got 0$"):
        WandbRun(save_dir=tmp_path, **{key: 0})  # type: ignore[arg-type]
