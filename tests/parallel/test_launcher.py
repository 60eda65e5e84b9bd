"""What a rank says when another one is gone, and which ways of starting ranks there are."""

from __future__ import annotations

import os

import pytest
from torch import distributed

from patchlight.errors import ConfigError, TrainingError
from patchlight.parallel import JobLauncher, launcher, ranks_of_this_job, require_supported
from patchlight.parallel.launcher import _Observer
from patchlight.parallel.support import CLUSTERS, OWN_NODES

GLOO = "[/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:29093."


class Process:
    """A rank that has ended with a status, or runs."""

    pid = 0

    def __init__(self, status: int | None) -> None:
        self.returncode = status
        self.is_killed = False

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.is_killed = True

    def wait(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("statuses", "error", "message"),
    [
        ([None, -9], RuntimeError(GLOO), "rank 2 was ended by SIGKILL, often because memory ran out; resume=auto"),
        ([-15, None], RuntimeError(GLOO), "rank 1 was ended by SIGTERM; resume=auto goes on"),
        ([0, 1], RuntimeError("anything"), "rank 2 stopped; its message stands above; resume=auto"),
        ([], RuntimeError(GLOO), r"another rank is gone, .* closed by peer \[127.0.0.1\]:29093.\); resume=auto"),
        ([], distributed.DistBackendError("timeout"), r"another rank is gone, whose message, .* \(timeout\); resume"),
    ],
)  # fmt: skip
def test_one_message_of_a_rank_that_is_gone(
    statuses: list[int | None], error: RuntimeError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = [Process(status) for status in statuses]
    monkeypatch.setattr(JobLauncher, "_running", processes)
    with pytest.raises(TrainingError, match=f"^{message}") as raised, ranks_of_this_job():
        raise error
    assert raised.value.__suppress_context__
    assert all(process.is_killed for process in processes)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="^a bug$") as raised, ranks_of_this_job():
        raise RuntimeError("a bug")
    assert not isinstance(raised.value, TrainingError)


def test_it_is_said_why_a_rank_that_waits_is_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning's observer kills it with the others, where a backend waits for ever."""
    killed: list[int] = []
    monkeypatch.setattr(launcher, "GRACE_S", 0.0)
    monkeypatch.setattr(os, "kill", lambda pid, signum: killed.append(pid))
    process = Process(-9)
    monkeypatch.setattr(Process, "send_signal", lambda self, signum: self.kill(), raising=False)
    observer = _Observer(main_pid=7, child_processes=[process])  # type: ignore[list-item]
    assert observer._run()
    assert killed == [7]
    expected = "patchlight-train: rank 1 was ended by SIGKILL, often because memory ran out; resume=auto goes on from"
    assert capsys.readouterr().err.startswith(expected)


def test_a_rank_that_ends_by_itself_is_not_killed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its connection to the one that is gone breaks, and `ranks_of_this_job` clears the observer's list."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, signum: killed.append(pid))
    observer = _Observer(main_pid=7, child_processes=[Process(-9)])  # type: ignore[list-item]
    monkeypatch.setattr(launcher.time, "sleep", lambda seconds: setattr(observer, "_child_processes", []))
    assert observer._run()
    assert killed == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed", "ddp_find_unused_parameters_true", "foo"])
def test_strategies_that_cannot_train_a_gan(strategy: str) -> None:
    message = (
        rf"^trainer\.strategy={strategy} is not supported: there are auto, ddp, ddp_spawn, ddp_fork, each with one"
    )
    with pytest.raises(ConfigError, match=message):
        require_supported(strategy, 1)
    for supported in ("auto", "ddp", "ddp_spawn", "ddp_fork", {"_target_": "mine.Strategy"}):
        require_supported(supported, 1)


def test_several_nodes_need_who_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that starts the ranks of one node waits half an hour for those of the others."""
    for cluster in CLUSTERS:
        monkeypatch.setattr(cluster, "detect", lambda: False)
    for name in OWN_NODES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ConfigError, match=r"^trainer\.num_nodes=2: this command .*torchrun --nnodes=2 .* srun .* MASTER"
    ):
        require_supported("ddp", 2)
    with monkeypatch.context() as own:
        own.setenv("NODE_RANK", "1")
        require_supported("ddp", 2)
    monkeypatch.setattr(CLUSTERS[0], "detect", lambda: True)
    require_supported("ddp", 2)
