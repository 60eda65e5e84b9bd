"""A sweep around its jobs: what is done before the first and after the last, and how a signal reaches them."""

from __future__ import annotations

import multiprocessing
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from patchlight.system.job_record import JobRecord, clear_jobs

LONGEST_SAVING_S = 60.0
"""How long jobs that were told to end are waited for."""


class Multirun(Callback):
    """What is done before the first job of a sweep, and after its last."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        clear_jobs(folder)
        _gather(config, folder)
        if config.hydra.sweeper.get("study_name") is not None:
            from patchlight.sweeps.search import resume_study

            resume_study(config.hydra)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from patchlight.sweeps.summary import Job, print_summary  # here, so that a mistake does not wait for rich

        folder = Path(config.hydra.sweep.dir)
        jobs = [Job.of(record) for record in JobRecord.current().jobs(folder) if record.outcome is not None]
        clear_jobs(folder)
        print_summary(folder, jobs)
        if any(job.status == "failed" for job in jobs):
            raise SystemExit(1)


def _gather(config: DictConfig, folder: Path) -> None:
    """Let all jobs lie in the folder of their sweep, which jobs of other tasks, as other experiments are, would leave.

    Hydra composes each job anew, from the words of the command line.
    """
    words = config.hydra.overrides.hydra
    if not any(str(word).lstrip("+").startswith("hydra.sweep.dir=") for word in words):
        with open_dict(config.hydra.overrides):
            # Within quotes Hydra takes everything as it is, but quotes and the backslashes before them.
            quoted = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), str(folder))
            config.hydra.overrides.hydra = [*words, f"hydra.sweep.dir='{quoted}'"]


@contextmanager
def sigterm_reaches_all(sweep: Path) -> Iterator[None]:
    """Within this context SIGTERM goes on to the jobs that run as processes of this one.

    Each saves itself and ends, and with them the sweep, which would otherwise leave them behind.
    """

    def pass_on(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, before)
        for process in multiprocessing.active_children():
            process.terminate()
        # The first of them to end makes joblib kill the others, so that waits until all are saved.
        deadline = time.monotonic() + LONGEST_SAVING_S
        while any(job.outcome is None for job in JobRecord.current().jobs(sweep)) and time.monotonic() < deadline:
            time.sleep(0.05)
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
