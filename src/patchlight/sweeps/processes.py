"""What the jobs of a sweep and the process that waits for them let one another know, by files in the sweep's folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchlight.config.naming import run_id
from patchlight.system.files import write_json

JOBS = ".jobs"

LONGEST_SAVING_S = 60.0
"""How long jobs that were told to end are waited for."""


@contextmanager
def running(sweep: Path) -> Iterator[None]:
    """Let it be known that this process has a job."""
    mark = sweep / JOBS / f"{os.getpid()}.running"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def write_results(sweep: Path, number: object, word: Mapping[str, Any]) -> None:
    """Leave word of how a job ended."""
    write_json(sweep / JOBS / f"{run_id()}-{number}.json", {"number": number, **word})


def read_results(sweep: Path) -> list[dict[str, Any]]:
    """What the jobs of this command have left word of, in their order."""
    told = [json.loads(path.read_text(encoding="utf-8")) for path in (sweep / JOBS).glob(f"{run_id()}-*.json")]
    return sorted(told, key=lambda word: int(word["number"]))


def clear_results(sweep: Path) -> None:
    """Remove what was said, of this command or of one that was stopped."""
    shutil.rmtree(sweep / JOBS, ignore_errors=True)


@contextmanager
def sigterm_reaches_all(sweep: Path) -> Iterator[None]:
    """Within this context SIGTERM goes on to the jobs that run as processes of this one.

    Each saves itself and ends, and with them the sweep, which would otherwise leave them behind.
    """

    def pass_on(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, before)
        marks = list((sweep / JOBS).glob("*.running"))
        for process in multiprocessing.active_children():
            process.terminate()
        # The first of them to end makes joblib kill the others, so that waits until all are saved.
        deadline = time.monotonic() + LONGEST_SAVING_S
        while any(mark.exists() for mark in marks) and time.monotonic() < deadline:
            time.sleep(0.05)
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
