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
from threading import Event, Thread
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from torch import distributed

from patchlight.errors import TrainingError
from patchlight.system.lightning_internals import SubprocessLauncher, share_threads

VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS")
"""What launching sets in the environment."""

GO_ON = "resume=auto goes on from the newest checkpoint"

PERIOD_S = 5.0
"""How often it is looked whether a rank is gone."""

GRACE_S = 10.0
"""How long this process may go on, once a rank is gone, before it is ended."""

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport", "NCCL")
"""What errors of a connection between ranks say, which have no type of their own."""


class JobLauncher(SubprocessLauncher):
    """Starts the ranks above 0 from a run's resolved configuration, not from the command line.

    The command line of one job of a sweep is that of the whole sweep, which each rank would begin again. Rank 0 stays
    the process of the job, where SLURM and submitit send the signals by which a run saves itself and is queued again:
    an agent above all ranks, as torchrun's, ends by SIGUSR1 and leaves them behind (seen with PyTorch 2.14).
    """

    _watched: list[_RankWatch] = []
    """Of the ranks that run, which `ranks_of_this_job` ends."""

    def __init__(
        self, cluster_environment: ClusterEnvironment, num_processes: int, num_nodes: int, job_config: Path
    ) -> None:
        super().__init__(cluster_environment, num_processes, num_nodes)
        self.job_config = job_config

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._start_ranks()
        share_threads(self.num_processes)
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
        watch = _RankWatch(self.procs)
        JobLauncher._watched.append(watch)
        watch.start()


class _RankWatch(Thread):
    """Ends this process where it waits for ever for a rank that is gone, and says why."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        super().__init__(name="ranks", daemon=True)
        self.processes = processes
        self.stopped = Event()

    def run(self) -> None:
        reason = None
        while reason is None:
            if self.stopped.wait(PERIOD_S):
                return
            reason = _how_a_rank_ended(self.processes)
        # Mostly a connection breaks, and this process ends by itself, with its own message.
        if self.stopped.wait(GRACE_S):
            return
        print(f"patchlight-train: {reason}; {GO_ON}", file=sys.stderr, flush=True)
        for process in self.processes:
            process.kill()
        os.kill(os.getpid(), signal.SIGKILL)  # of another signal it would take no notice


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
        launched = bool(JobLauncher._watched)
        for watch in JobLauncher._watched:
            watch.stopped.set()
            for process in watch.processes:
                if failed:
                    process.kill()
                process.wait()
        JobLauncher._watched = []
        if launched and distributed.is_initialized():
            distributed.destroy_process_group()
        # Also after ranks that Lightning has spawned: the next job would meet at the port that was free for this one.
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _why_a_rank_failed() -> str | None:
    """How a process launched here has ended badly, or does so within the next moments."""
    processes = [process for watch in JobLauncher._watched for process in watch.processes]
    for _ in range(20):
        reason = _how_a_rank_ended(processes)
        if reason is not None or not processes:
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
