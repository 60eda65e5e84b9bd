"""A signal that reaches the jobs of a sweep that run side by side, as processes of the command."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchlight.system.job_record import JobRecord

LONGEST_SAVING_S = 60.0
"""How long jobs that were told to end are waited for."""


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
