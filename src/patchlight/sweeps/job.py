"""One job of a sweep, recorded however it ends."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from patchlight.config.compose import complete, job_name
from patchlight.config.validation import validate
from patchlight.errors import EmptyPatchMapError, OtherRunError, UserError
from patchlight.runs import run
from patchlight.runs.records import LENGTHS, Outcome, first_difference, last_line, measured, overrides
from patchlight.sweeps.search import direction, score
from patchlight.system.job_record import JobRecord
from patchlight.system.lightning_internals import is_first


def run_job(cfg: DictConfig) -> float | None:
    """Train, and return what the sweeper is told: of a job that failed, or of not a number, the worst value there is.

    A job that fails is recorded, with one line or a traceback printed, and the others go on. One that finished before
    is not run again. While a job runs its record shows the command how it stands; one that is interrupted (SIGTERM,
    Ctrl-C) leaves none and ends the sweep.
    """
    sweep = Path(HydraConfig.get().sweep.dir)
    number, folder = HydraConfig.get().job.num, str(cfg.paths.run_dir)
    record = replace(JobRecord.current(), number=number, label=_label(cfg), folder=folder)
    if is_first():
        record.write(sweep)
    try:
        outcome, value = _run_and_record(cfg)
    except BaseException:
        if is_first():
            record.remove(sweep)
        raise
    if is_first():
        replace(record, outcome=asdict(outcome)).write(sweep)
    towards = direction(HydraConfig.get())
    return value if towards is None else score(value, towards)


def _run_and_record(cfg: DictConfig) -> tuple[Outcome, float | None]:
    """How a job of a sweep ends, and its objective."""
    started = time.monotonic()
    folder = Path(cfg.paths.run_dir)
    try:
        before = _finished_before(cfg, folder)
        if is_first():
            print(f"job {_label(cfg)}{' is finished already' * (before is not None)}")
        if before is not None:
            return before, before.objective.value if before.objective is not None else None
        value = run.train_checked(cfg)
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
