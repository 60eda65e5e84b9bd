"""One training run, from a composed configuration to the files it leaves behind."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from patchlight.build import warming_up_loggers
from patchlight.callbacks.quality import figure_title
from patchlight.checkpoint import BEST, LAST, remove_unfinished
from patchlight.config.compose import complete
from patchlight.config.messages import one_line
from patchlight.config.validation import validate
from patchlight.errors import TrainingError
from patchlight.loggers import Dashboard, log_checkpoints, wandb_id
from patchlight.parallel import ranks_of_this_job
from patchlight.parallel.networks import resolve_precision
from patchlight.runs.evaluation import Figures
from patchlight.runs.overview import MARGIN, overview, padding_notes, shortest
from patchlight.runs.preflight import Run, prepare, run_notes
from patchlight.runs.records import make_manifest, measured, recorded
from patchlight.system.console import run_log, say, say_table
from patchlight.system.devices import device_of, retain_allocator_memory
from patchlight.system.files import write_json
from patchlight.system.lightning_internals import is_first
from patchlight.system.warnings import filter_warnings


def train(cfg: DictConfig) -> float | None:
    """Check and complete a composed configuration, and train: see `train_checked`."""
    validate(cfg)
    complete(cfg)
    return train_checked(cfg)


def train_checked(cfg: DictConfig) -> float | None:
    """Train, evaluate and sum up; everything is written below `paths.run_dir`. Called by every rank.

    The configuration is valid and complete. Returns the figure that `objective` names, if any.

    Raises:
        UserError: something in the configuration, the data or the disk is the user's to put right.
    """
    resolve_precision(cfg.trainer)
    if device_of(cfg.trainer.accelerator).type == "cpu":
        retain_allocator_memory()
    run_dir = Path(cfg.paths.run_dir)
    filter_warnings()
    with run_log(run_dir) if is_first() else nullcontext():
        try:
            with warming_up_loggers(cfg):
                run = prepare(cfg, run_dir)
        except BaseException:
            if run_dir.is_dir() and not any(run_dir.iterdir()):
                run_dir.rmdir()
            raise
        value: float | None = None
        with recorded(run_dir, cfg.objective) as outcome, _clear_errors(), ranks_of_this_job():
            run_dir.mkdir(parents=True, exist_ok=True)
            notes = run_notes(run, cfg.resume)
            if is_first():
                say(*overview(run, cfg), indent=" " * MARGIN)
                say(*padding_notes(run.geometries), *notes)
            _fit_and_test(cfg, run, run_dir)
            if cfg.objective is not None:
                value = run.evaluation.objective(cfg.objective)
                outcome.objective = measured(cfg.objective, value)
            if is_first():
                _print_summary(run_dir, run.evaluation.figures)
    return value


def _fit_and_test(cfg: DictConfig, run: Run, run_dir: Path) -> None:
    """Train and evaluate."""
    method, data, trainer = run.method, run.data, run.trainer
    with _open(run.loggers, run.config):
        if is_first():
            remove_unfinished(run_dir / "checkpoints")
            OmegaConf.save(cfg, run_dir / "config.yaml")
            discriminators = {geometry.name: asdict(geometry) for geometry in run.geometries}
            manifest = make_manifest(cfg.seed, discriminators, data.describe())
            write_json(run_dir / "manifest.json", {**manifest, "wandb_id": wandb_id(run.loggers)})
        if cfg.evaluate_untrained:
            run.evaluation.measure("untrained")
        path = str(run.resume_point.path) if run.resume_point is not None else None
        trainer.fit(method, datamodule=data.module, ckpt_path=path, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        run.evaluation.finish(trainer, run_dir)
        log_checkpoints(run.loggers, [run_dir / "checkpoints" / name for name in (LAST, BEST)])


@contextmanager
def _clear_errors() -> Iterator[None]:
    """One message where a disk is full, a folder cannot be written, or a worker process is gone."""
    try:
        yield
    except RuntimeError as error:
        text = one_line(error)
        if not text.startswith("DataLoader worker (pid"):
            raise
        raise TrainingError(
            f"a process that reads images is gone ({text[:200]}): if memory ran out, lower data.num_workers or "
            f"data.cache; resume=auto goes on from the newest checkpoint"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise TrainingError(
            f"{error.filename or 'a file of the run'} cannot be written ({error.strerror}): make room or choose "
            f"another folder with hydra.run.dir=DIR; checkpoints written before are untouched, and resume=auto goes on "
            f"from the newest"
        ) from None


@contextmanager
def _open(loggers: list[Logger], config: dict[str, Any]) -> Iterator[None]:
    """Loggers with the configuration in them; closed at the end, so that the next job of a sweep has its own."""
    exit_code = 1
    try:
        for logger in loggers:
            if isinstance(logger, Dashboard):
                logger.open(config)
        yield
        exit_code = 0
    finally:
        for logger in loggers:
            logger.finalize("success" if exit_code == 0 else "failed")
            if isinstance(logger, Dashboard):
                logger.close(exit_code)


def _print_summary(run_dir: Path, figures: dict[str, Figures]) -> None:
    if any(figures.values()):
        table = Table("test", *figures)
        # A figure that a callback of the user's own logs is of the last weights only.
        names = list(dict.fromkeys(name for values in figures.values() for name in values))
        for name in names:
            numbers = (f"{values[name]:.4f}" if name in values else "" for values in figures.values())
            table.add_row(figure_title(name, names), *numbers)
        say_table(table)
    for title, path in (
        ("samples", max((run_dir / "samples").glob("step_????????.png"), default=None)),
        ("figures", run_dir / "metrics.json"),
        ("curves", run_dir / "metrics.csv"),
        ("weights", run_dir / "checkpoints"),
    ):
        if path is not None and path.exists():
            say(f"{title:<{MARGIN}}{shortest(path)}")
