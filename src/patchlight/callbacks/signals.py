"""Signals that ask a run to save itself, and to make room."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from patchlight.data.loading import listen_for_workers
from patchlight.system.console import say
from patchlight.system.lightning_internals import is_first

CAUGHT = (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM)
"""In this order one goes over another: after SIGTERM there may be no time for a second batch."""

STOPPED = 128 + signal.SIGTERM
"""The exit status of a run that was told to end, and is saved."""

Handler = Callable[[int, Any], Any] | int | None


class Signals:
    """Remembers a signal until the batch is done, and then does what it asks for.

    - SIGTERM (preemption, `kill`): the run ends with exit status 143.
    - SIGUSR1 (on SLURM the warning before the time is over, `sbatch --signal=USR1@120`): the job is queued again, where
      `PATCHLIGHT_REQUEUE=1` or an own requeue of SLURM's allows it, and the run ends. Elsewhere it goes on.
    - SIGUSR2 (the warning of submitit, which queues its jobs again by itself): as whoever handled it before wants.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Handler] = {}

    def catch(self) -> None:
        """Begin to listen; of a process's threads only the main one can."""
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {signum: signal.signal(signum, self._remember) for signum in CAUGHT}
            listen_for_workers(True)

    def release(self) -> None:
        """Give the signals back to whoever had them before."""
        if self._before:
            listen_for_workers(False)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _remember(self, signum: int, frame: Any) -> None:
        self.received = max(self.received, int(signum), key=(0, *CAUGHT).index)

    def answer(self, signum: signal.Signals, checkpoint: Path) -> None:
        """Do what a signal asks for, now that the run is saved in that file; all ranks together."""
        self.received = 0
        before = self._before.get(signum)
        if signum == signal.SIGTERM:
            self._leave(signum, checkpoint, status=STOPPED)
        if signum == signal.SIGUSR1 and "SLURM_JOB_ID" in os.environ and not callable(before):
            self._requeue()
            self._leave(signum, checkpoint, status=0)
        if callable(before):
            self.release()
            before(int(signum), None)
            self.catch()
        elif is_first():
            say(f"patchlight-train: {signum.name}: saved in {checkpoint}, going on", error=True)

    def _leave(self, signum: signal.Signals, checkpoint: Path, status: int) -> None:
        if is_first():
            say(
                f"patchlight-train: {signum.name}: saved in {checkpoint} and stopped; the same command with "
                f"hydra.run.dir={checkpoint.parents[1]} resume=auto goes on from there",
                error=True,
            )
        raise SystemExit(status)

    @staticmethod
    def _requeue() -> None:
        """Ask SLURM to run this job again, from its first rank."""
        if not is_first() or shutil.which("scontrol") is None:
            return
        job = os.environ["SLURM_JOB_ID"]
        assert re.fullmatch(r"\d+", job)
        subprocess.run(["scontrol", "requeue", job], check=False)
