"""The jobs of a sweep: how each ends is recorded, and at the end there is a table of all."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from patchlight.config.compose import complete, job_name
from patchlight.config.validation import validate
from patchlight.errors import EmptyPatchMapError, OtherRunError, UserError
from patchlight.system.job_record import JobRecord, clear_jobs, leave_out_current_folder, search_folders
from patchlight.system.warnings import gc_paused

if TYPE_CHECKING:
    from patchlight.runs.records import Outcome


def run_job(cfg: DictConfig) -> float | None:
    """Train, and return the objective.

    A job of a sweep that fails is recorded, with one line or a traceback printed, and the others go on; what its
    sweeper is told of it, and of an objective that is not a number, is the worst value there is. A job that finished
    before is not run again. What interrupts a job (SIGTERM, Ctrl-C) ends the sweep.

    Raises:
        UserError: outside of a sweep, as `patchlight.runs.run.train_checked`.
    """
    leave_out_current_folder()  # in a process of its own, such as a job of SLURM's
    search_folders()
    with gc_paused():
        from patchlight.runs.run import train_checked
        from patchlight.sweeps.search import direction, score

    if HydraConfig.get().mode != RunMode.MULTIRUN:
        complete(cfg)  # it was validated with the command line
        return train_checked(cfg)
    value = _run_and_show(cfg)
    towards = direction(HydraConfig.get())
    return value if towards is None else score(value, towards)


def _run_and_show(cfg: DictConfig) -> float | None:
    """Run a job while its record shows the command how it stands; one that is interrupted leaves no record."""
    from patchlight.system.lightning_internals import is_first

    sweep = Path(HydraConfig.get().sweep.dir)
    record = replace(JobRecord.current(), number=HydraConfig.get().job.num, label=_label(cfg))
    if not is_first():
        return _run_and_record(cfg)[1]
    record.write(sweep)
    try:
        outcome, value = _run_and_record(cfg)
    except BaseException:
        record.remove(sweep)
        raise
    replace(record, outcome=asdict(outcome)).write(sweep)
    return value


def _run_and_record(cfg: DictConfig) -> tuple[Outcome, float | None]:
    """How a job of a sweep ends, and its objective."""
    from patchlight.runs.records import Outcome, measured
    from patchlight.runs.run import train_checked
    from patchlight.system.lightning_internals import is_first

    started = time.monotonic()
    folder = Path(cfg.paths.run_dir)
    try:
        before = _finished_before(cfg, folder)
        if is_first():
            print(f"job {_label(cfg)}{' is finished already' * (before is not None)}")
        if before is not None:
            return before, before.objective.value if before.objective is not None else None
        value = train_checked(cfg)
        return Outcome(objective=measured(cfg.objective, value)), value
    except Exception as error:
        outcome = _ended_badly(error, cfg, time.monotonic() - started)
        if not isinstance(error, OtherRunError):
            outcome.write(folder)
        return outcome, None


def _finished_before(cfg: DictConfig, folder: Path) -> Outcome | None:
    """The outcome of this very job where it is finished; where it is not, the job goes on in its folder.

    With resume=auto a job of other lengths is not finished: it goes on to its new end.

    Raises:
        OtherRunError: the folder holds another job.
    """
    from patchlight.runs.records import LENGTHS, Outcome, first_difference

    validate(cfg)
    complete(cfg)
    difference = first_difference(cfg, folder)
    of_other_length = difference is not None and first_difference(cfg, folder, apart_from=LENGTHS) is None
    if difference is not None and not (of_other_length and cfg.resume == "auto"):
        raise OtherRunError(
            f"{folder} holds another run, which would be lost ({difference}): "
            f"{'go on with it to its new end by resume=auto, or ' * of_other_length}choose another folder with "
            f"hydra.sweep.dir=DIR"
        )
    if (folder / "config.yaml").is_file() and cfg.resume is None:
        cfg.resume = "auto"
    outcome = Outcome.read(folder) if difference is None else None
    return outcome if outcome is not None and outcome.status == "finished" else None


def _ended_badly(error: Exception, cfg: DictConfig, seconds: float) -> Outcome:
    """Say what went wrong, and make an outcome of it."""
    from patchlight.runs.records import Outcome, last_line, measured, overrides

    swept = JobRecord.current().swept
    about_discriminator = any("model/discriminator" in key or "model.discriminator" in key for key in swept)
    left_out = isinstance(error, EmptyPatchMapError) and about_discriminator
    if isinstance(error, UserError):
        print(f"patchlight-train: {'left out: ' if left_out else ''}{error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    return Outcome(
        "left out" if left_out else "failed", last_line(error), overrides(), measured(cfg.objective, None), seconds
    )


def _label(cfg: DictConfig) -> str:
    """How a job is called: its folder and, where that is a number, what sets it apart."""
    folder = Path(cfg.paths.run_dir)
    name = job_name(list(HydraConfig.get().overrides.task), JobRecord.current().swept)
    return folder.name if not name or name == folder.name else f"{folder.name} ({name})"


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
