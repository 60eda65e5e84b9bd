"""One training run, from a composed configuration to the files it leaves behind."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from patchlight.build import (
    PatchGeometry,
    build_callbacks,
    build_data,
    build_loggers,
    build_method,
    build_performance,
    build_trainer,
    data_channels,
    patch_geometries,
    try_optimizers,
    warming_up_loggers,
)  # fmt: skip
from patchlight.callbacks import LastCheckpoint, LoopState, RunRecord
from patchlight.checkpoint import BEST, LAST, remove_unfinished
from patchlight.config.compose import complete
from patchlight.config.validation import validate
from patchlight.config.validation.lengths import check_lengths
from patchlight.data import ImageDataModule
from patchlight.errors import TrainingError
from patchlight.loggers import Dashboard, MetricsCSV, log_checkpoints, wandb_id
from patchlight.methods import TranslationMethod
from patchlight.methods.schedules import beyond_end
from patchlight.parallel import ranks_of_this_job, require_supported
from patchlight.parallel.performance import resolve_precision
from patchlight.runs.evaluation import Evaluation, Figures
from patchlight.runs.initial_weights import load_initial_weights
from patchlight.runs.manifest import make_manifest
from patchlight.runs.objective import check_objective
from patchlight.runs.outcome import measured, recorded
from patchlight.runs.resume import ResumePoint, find_checkpoint, require_fit, set_aside_later
from patchlight.system.devices import device_of, retain_allocator_memory
from patchlight.system.distributed import is_first
from patchlight.system.files import write_json
from patchlight.system.warnings import filter_warnings


def train(cfg: DictConfig) -> float | None:
    """Train, evaluate and sum up; everything is written below `paths.run_dir`. Called by every rank.

    Returns the figure that `objective` names, if any.

    Raises:
        UserError: something in the configuration, the data or the disk is the user's to put right.
    """
    validate(cfg)
    complete(cfg)
    resolve_precision(cfg.trainer)
    if device_of(cfg.trainer.accelerator).type == "cpu":
        retain_allocator_memory()
    run_dir = Path(cfg.paths.run_dir)
    console = Console(highlight=False, soft_wrap=True, quiet=not is_first())
    filter_warnings()
    try:
        with warming_up_loggers(cfg):
            run = _prepare(cfg, run_dir)
    except BaseException:
        if run_dir.is_dir() and not any(run_dir.iterdir()):
            run_dir.rmdir()
        raise
    for geometry in run.geometries:
        console.print(str(geometry))
    for note in _notes(run, cfg.resume):
        console.print(note)
    value: float | None = None
    with recorded(run_dir, cfg.objective) as outcome, _clear_errors(), ranks_of_this_job():
        run_dir.mkdir(parents=True, exist_ok=True)
        _fit_and_test(cfg, run, run_dir)
        if cfg.objective is not None:
            value = run.evaluation.objective(cfg.objective)
            outcome.objective = measured(cfg.objective, value)
        _print_summary(console, run_dir, run.evaluation.figures)
    return value


@dataclass
class Run:
    """The objects of a run, made from its configuration."""

    config: dict[str, Any]
    method: TranslationMethod
    geometries: list[PatchGeometry]
    data: ImageDataModule
    callbacks: dict[str, Callback]
    loggers: list[Logger]
    trainer: Trainer
    resume_point: ResumePoint | None
    evaluation: Evaluation
    notes: list[str]


def _prepare(cfg: DictConfig, run_dir: Path) -> Run:
    """Build everything, and find out what is wrong with it, before anything is written."""
    require_supported(cfg.trainer.strategy, cfg.trainer.num_nodes)
    seed_everything(cfg.seed, verbose=False)
    method = build_method(cfg.model, data_channels(cfg.data))
    try_optimizers(method)
    notes = build_performance(cfg.perf).apply(method, cfg.trainer.precision, cfg.trainer.accelerator)
    geometries = patch_geometries(method, cfg.data.image_size)
    data = build_data(cfg.data, method)
    assert isinstance(data, ImageDataModule)
    data.prepare_data()
    data.setup("fit")
    if not data.val_paths:
        cfg.trainer.limit_val_batches = 0
    point = find_checkpoint(cfg.resume, run_dir)
    if point is not None:
        require_fit(method, point, cfg.trainer.max_epochs)
    same_run = point is not None and point.same_run
    loggers = build_loggers(cfg, _wandb_id(point, run_dir) if same_run or cfg.resume == "auto" else None)
    for logger in loggers:
        if isinstance(logger, MetricsCSV):
            logger.keep(point.csv_rows if same_run and point else 0)
    callbacks = build_callbacks(cfg)
    if cfg.init_from is not None:
        load_initial_weights(cfg.init_from, cfg.resume, method, callbacks, is_resuming=point is not None)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    evaluation = Evaluation(cfg, method, data, callbacks)
    evaluation.prepare()
    notes += evaluation.leave_out_best()
    check_objective(cfg.objective, evaluation.quality, method, evaluation.stages)
    trainer = build_trainer(cfg, [*_usable(callbacks, evaluation), LoopState(), RunRecord(config)], loggers)
    check_lengths(cfg.trainer, cfg.model, data.n_train, data.batch_sizes["train"], trainer.world_size)
    return Run(config, method, geometries, data, callbacks, loggers, trainer, point, evaluation, notes)


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
        trainer.fit(method, datamodule=data, ckpt_path=path, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        run.evaluation.finish(trainer, run_dir)
        log_checkpoints(run.loggers, [run_dir / "checkpoints" / name for name in (LAST, BEST)])


def _notes(run: Run, resume: str | None) -> list[str]:
    """What there is to say before training: of images, the checkpoint it goes on from, epochs beyond the schedule."""
    point, trainer = run.resume_point, run.trainer
    notes = [*run.data.notes, *run.notes, *(point.notes if point is not None else ())]
    if point is not None and point.same_run and resume != "auto" and is_first():
        notes += set_aside_later(point)
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else sys.maxsize
    if trainer.max_steps > 0:
        images = max(run.data.describe()["images"]["train"].values())
        epochs = min(epochs, -(-trainer.max_steps * run.data.batch_sizes["train"] * trainer.world_size // images))
    beyond = beyond_end(run.method.schedule_factory, epochs)
    return notes if beyond is None else [*notes, beyond]


def _wandb_id(point: ResumePoint | None, run_dir: Path) -> str | None:
    """The W&B run of this folder, also where the run was stopped before its first checkpoint."""
    if point is not None:
        return point.wandb_id
    manifest = run_dir / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8")).get("wandb_id") if manifest.is_file() else None


def _usable(callbacks: dict[str, Callback], evaluation: Evaluation) -> list[Callback]:
    """All but the best checkpoints for which there is no figure; the last one is written after the others."""
    usable = [callback for callback in callbacks.values() if callback not in evaluation.left_out]
    return sorted(usable, key=lambda callback: isinstance(callback, LastCheckpoint))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """One message where a disk is full, a folder cannot be written, or a worker process is gone."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
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


def _print_summary(console: Console, run_dir: Path, figures: dict[str, Figures]) -> None:
    if figures:
        table = Table("test", *figures)
        # A metric of the user's own may have seen the test of the last weights only.
        for name in dict.fromkeys(name for values in figures.values() for name in values):
            table.add_row(name, *(f"{values[name]:.4f}" if name in values else "-" for values in figures.values()))
        console.print(table)
    for title, path in (
        ("samples", max((run_dir / "samples").glob("step_????????.png"), default=None)),
        ("figures", run_dir / "metrics.json"),
        ("curves", run_dir / "metrics.csv"),
        ("weights", run_dir / "checkpoints"),
    ):
        if path is not None and path.exists():
            console.print(f"{title:>8}  {_shown(path)}")


def _shown(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
