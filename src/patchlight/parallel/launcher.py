"""The processes of a job's further ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import distributed

from patchlight.errors import TrainingError

VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS")
"""What launching sets in the environment."""

GO_ON = "resume=auto goes on from the newest checkpoint"

GRACE_S = 10.0
"""How long this process may go on, once a rank is gone, before it is ended."""

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport", "NCCL")
"""What errors of a connection between ranks say, which have no type of their own."""


class JobLauncher(_SubprocessScriptLauncher):
    """Starts the ranks above 0 from a run's resolved configuration, not from the command line.

    The command line of one job of a sweep is that of the whole sweep, which each rank would begin again.
    """

    _running: list[subprocess.Popen[bytes]] = []
    _observers: list[_ChildProcessObserver] = []

    def __init__(
        self, cluster_environment: ClusterEnvironment, num_processes: int, num_nodes: int, job_config: Path
    ) -> None:
        super().__init__(cluster_environment, num_processes, num_nodes)
        self.job_config = job_config

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._start_ranks()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)

    def _start_ranks(self) -> None:
        environment = self.cluster_environment
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        os.environ["NODE_RANK"] = str(environment.node_rank())
        os.environ["LOCAL_RANK"] = "0"
        os.environ["WORLD_SIZE"] = str(self.num_processes * self.num_nodes)
        # -P: the current folder does not go before what is installed.
        command = [sys.executable, "-P", "-m", "patchlight.runs.worker", str(self.job_config.resolve())]
        for rank in range(1, self.num_processes):
            self.procs.append(subprocess.Popen(command, env=os.environ | {"LOCAL_RANK": str(rank)}))
        observer = _Observer(child_processes=self.procs, main_pid=os.getpid())
        observer.start()
        JobLauncher._running += self.procs
        JobLauncher._observers.append(observer)


class _Observer(_ChildProcessObserver):
    """Ends this process where it waits for a rank that is gone, and says why."""

    def _terminate_all(self) -> None:
        # Mostly a connection breaks, and this process ends by itself, with its own message.
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and self._child_processes:
            time.sleep(0.1)
        if not self._child_processes:
            return
        print(f"patchlight-train: {_how_a_rank_ended(self._child_processes)}; {GO_ON}", file=sys.stderr, flush=True)
        super()._terminate_all()


@contextmanager
def ranks_of_this_job() -> Iterator[None]:
    """What launches ranks within this context sees to it that they are gone at its end, for the next job of a sweep.

    Raises:
        TrainingError: another rank failed or is gone, which is why this one cannot go on.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    failed = True
    try:
        yield
        failed = False
    except RuntimeError as error:
        reason = _why_a_rank_failed() or _lost_connection(error)
        if reason is None:
            raise
        raise TrainingError(f"{reason}; {GO_ON}") from None
    finally:
        for observer in JobLauncher._observers:
            observer._child_processes = []
        for process in JobLauncher._running:
            if failed:
                process.kill()
            process.wait()
        launched = bool(JobLauncher._running)
        JobLauncher._running, JobLauncher._observers = [], []
        if launched and distributed.is_initialized():
            distributed.destroy_process_group()
        # Also after ranks that Lightning has spawned: the next job would meet at the port that was free for this one.
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _why_a_rank_failed() -> str | None:
    """How a process launched here has ended badly, or does so within the next moments."""
    for _ in range(20):
        reason = _how_a_rank_ended(JobLauncher._running)
        if reason is not None or not JobLauncher._running:
            return reason
        time.sleep(0.1)
    return None


def _how_a_rank_ended(processes: Sequence[subprocess.Popen[bytes]]) -> str | None:
    """What to say of the first of the ranks from 1 on that has ended badly."""
    for rank, process in enumerate(processes, start=1):
        status = process.poll()
        if status is not None and status < 0:
            often = ", often because memory ran out" if status == -signal.SIGKILL else ""
            return f"rank {rank} was ended by {signal.Signals(-status).name}{often}"
        if status:
            return f"rank {rank} stopped; its message stands above"
    return None


def _lost_connection(error: RuntimeError) -> str | None:
    """What to say of an error that another rank's end is the cause of; None of any other."""
    text = " ".join(str(error).split())
    if not isinstance(error, distributed.DistError) and not any(words in text for words in LOST):
        return None
    return f"another rank is gone, whose message, if it left one, is in its own output ({text[:200]})"
