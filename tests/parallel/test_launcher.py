"""What a rank says when another one is gone, and which ways of starting ranks there are."""

from __future__ import annotations

import os
import signal

import pytest
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from patchlight.build import build_trainer
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError, TrainingError
from patchlight.parallel import JobLauncher, PerNetworkDDP, launcher, ranks_of_this_job, require_supported
from patchlight.parallel.launcher import _RankWatch
from patchlight.parallel.networks import CLUSTERS, OWN_NODES

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
    monkeypatch.setattr(JobLauncher, "_watched", [_RankWatch(processes)] if processes else [])  # type: ignore[arg-type]
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
    """It is killed with the others, where a backend waits for ever."""
    killed: list[tuple[int, int]] = []
    for name in ("PERIOD_S", "GRACE_S"):
        monkeypatch.setattr(launcher, name, 0.0)
    monkeypatch.setattr(os, "kill", lambda pid, signum: killed.append((pid, signum)))
    processes = [Process(-9), Process(None)]
    _RankWatch(processes).run()  # type: ignore[arg-type]
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert all(process.is_killed for process in processes)
    expected = "patchlight-train: rank 1 was ended by SIGKILL, often because memory ran out; resume=auto goes on from"
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize("status", [-9, 0, None])
def test_a_rank_that_ends_by_itself_is_not_killed(
    status: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its connection to the one that is gone breaks, and `ranks_of_this_job` stops the watch, as it does at the end."""
    killed: list[int] = []
    monkeypatch.setattr(launcher, "PERIOD_S", 0.0)
    monkeypatch.setattr(os, "kill", lambda pid, signum: killed.append(pid))
    watch = _RankWatch([Process(status)])  # type: ignore[list-item]
    monkeypatch.setattr(JobLauncher, "_watched", [watch])
    watch.start()
    with ranks_of_this_job():
        pass
    watch.join(timeout=10)
    assert not watch.is_alive()
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


def test_ranks_of_torchrun_within_a_slurm_job_are_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of SLURM's is an agent there, whose number is that of a machine."""
    variables = {
        "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7", "SLURM_PROCID": "1",
        "TORCHELASTIC_RUN_ID": "7", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost", "MASTER_PORT": "29400",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "paths.run_dir=run")
    trainer = build_trainer(compose_config("train", words), [], False)
    assert trainer.global_rank == 0
    assert trainer.world_size == 2
    assert isinstance(trainer.strategy, PerNetworkDDP)
    assert isinstance(trainer.strategy.cluster_environment, TorchElasticEnvironment)
