"""A sweep around its jobs: what is done before the first and after the last, and how a signal reaches them."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from patchlight.system.job_record import JobRecord, clear_jobs

LONGEST_SAVING_S = 60.0
"""How long jobs that were told to end are waited for."""


class Multirun(Callback):
    """What is done before the first job of a sweep, and after its last."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        clear_jobs(folder)
        if config.hydra.sweeper.get("study_name") is not None:
            from patchlight.sweeps.search import resume_study

            resume_study(config.hydra)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = [(job.label, job.outcome) for job in JobRecord.current().jobs(folder) if job.outcome is not None]
        clear_jobs(folder)
        _print_table(folder, jobs)
        if any(outcome["status"] == "failed" for _, outcome in jobs):
            raise SystemExit(1)


def _print_table(folder: Path, jobs: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """How each job ended and, if there is an objective, what it reached."""
    from rich.console import Console
    from rich.table import Column, Table

    console = Console(highlight=False, soft_wrap=True)
    numbers = Counter(outcome["status"] for _, outcome in jobs)
    objectives = dict.fromkeys(outcome["objective"]["name"] for _, outcome in jobs if outcome["objective"])
    table = Table(Column("job", overflow="fold"), "", *objectives)
    for label, outcome in jobs:
        value = (outcome["objective"] or {}).get("value")
        displayed = "" if value is None else f"{value:.4f}"
        table.add_row(label, outcome["status"], *([displayed] if outcome["objective"] else []))
    console.print(table)
    for label, outcome in jobs:
        if outcome["message"] is not None:
            console.print(f"{outcome['status']}: {label}: {outcome['message']}", markup=False)
    best = folder / "optimization_results.yaml"
    if best.is_file():
        found: Any = OmegaConf.load(best)
        values = ", ".join(f"{key}={value}" for key, value in found.get("best_params", {}).items())
        console.print(f"best of all: {found.get('best_value')} with {values}", markup=False)
    ended = ", ".join(f"{numbers[status]} {status}" for status in ("finished", "failed", "left out"))
    console.print(f"{len(jobs)} jobs: {ended}; in {folder}", markup=False)


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
