"""Everything that a training needs, built and checked before anything is written."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from patchlight.build import (
    build_callbacks,
    build_data,
    build_loggers,
    build_method,
    build_performance,
    build_trainer,
    data_channels,
    try_optimizers,
)  # fmt: skip
from patchlight.callbacks import LastCheckpoint, LoopState, RunRecord
from patchlight.data import ImageDataModule
from patchlight.data.contract import TrainingData
from patchlight.loggers import MetricsCSV
from patchlight.methods import TranslationMethod
from patchlight.methods.generator_terms import require_term_images
from patchlight.methods.schedules import beyond_end
from patchlight.parallel import require_supported
from patchlight.runs.evaluation import Evaluation
from patchlight.runs.geometry import NetworkCost, PatchGeometry, network_costs, patch_geometries
from patchlight.runs.length import Length, check_evaluation, check_lengths
from patchlight.runs.monitors import RequireFigures, check_monitors, check_objective
from patchlight.runs.resume import ResumePoint, find_checkpoint, load_initial_weights, require_fit, set_aside_later
from patchlight.system.lightning_internals import is_first


@dataclass
class Run:
    """The objects of a run, made from its configuration."""

    config: dict[str, Any]
    method: TranslationMethod
    geometries: list[PatchGeometry]
    costs: list[NetworkCost]
    """For the first rank to tell; empty on the others."""
    length: Length
    data: TrainingData
    callbacks: dict[str, Callback]
    loggers: list[Logger]
    trainer: Trainer
    resume_point: ResumePoint | None
    evaluation: Evaluation
    notes: list[str]


def prepare(cfg: DictConfig, run_dir: Path) -> Run:
    """Build everything, and find out what is wrong with it, before anything is written."""
    require_supported(cfg.trainer.strategy, cfg.trainer.num_nodes)
    seed_everything(cfg.seed, verbose=False)
    method = build_method(cfg.model, data_channels(cfg.data))
    try_optimizers(method)
    size = cfg.data.image_size
    image_size = (size, size) if isinstance(size, int) else tuple(size)
    # Before compiling and the like, which change how networks are called.
    costs = network_costs(method, data_channels(cfg.data), image_size) if is_first() else []
    notes = build_performance(cfg.perf).apply(method, cfg.trainer.precision, cfg.trainer.accelerator)
    geometries = patch_geometries(method, cfg.data.image_size)
    require_term_images(method, image_size, data_channels(cfg.data))
    data = build_data(cfg.data, method)
    data.module.prepare_data()
    data.module.setup("fit")
    if isinstance(data.module, ImageDataModule):
        for key, limits in data.module.measured.items():  # so that a checkpoint has them
            cfg.data[key] = limits
    else:  # which does not know ranks itself
        cfg.trainer.use_distributed_sampler = True
    images = data.describe()["images"]
    if not images["val"]["A"]:
        cfg.trainer.limit_val_batches = 0
    point = find_checkpoint(cfg.resume, run_dir)
    if point is not None:
        require_fit(method, point, cfg.trainer.max_epochs)
    same_run = point is not None and point.same_run
    wandb_id = _wandb_id(point, run_dir) if same_run or cfg.resume == "auto" else None
    loggers = build_loggers(cfg, wandb_id, [geometry.receptive_field for geometry in geometries])
    for logger in loggers:
        if isinstance(logger, MetricsCSV):
            logger.keep(point.csv_rows if same_run and point else 0)
    callbacks = build_callbacks(cfg)
    if cfg.init_from is not None:
        notes += load_initial_weights(cfg.init_from, cfg.resume, method, callbacks, is_resuming=point is not None)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    evaluation = Evaluation(cfg, method, data, callbacks)
    evaluation.prepare()
    later, left_out = check_monitors(evaluation)
    notes += left_out
    check_objective(cfg.objective, evaluation.quality, method, evaluation.stages)
    usable = [callback for callback in callbacks.values() if callback not in evaluation.left_out]
    usable.sort(key=lambda callback: isinstance(callback, LastCheckpoint))  # which is written after the others
    own = [RequireFigures(later), *usable, LoopState(), RunRecord(config)]
    trainer = build_trainer(cfg, [*data.callbacks, *own], loggers)
    seen = max(images["train"].values()) * data.repeat
    length = check_lengths(cfg.trainer, cfg.model, seen, data.batch_sizes["train"], trainer.world_size)
    check_evaluation(cfg.trainer, "val", max(images["val"].values()), trainer.world_size)
    if evaluation.quality is not None:
        check_evaluation(cfg.trainer, "test", max(images["test"].values()), trainer.world_size)
    return Run(config, method, geometries, costs, length, data, callbacks, loggers, trainer, point, evaluation, notes)


def run_notes(run: Run, resume: str | None) -> list[str]:
    """What there is to say before training: of images, the checkpoint it goes on from, epochs beyond the schedule."""
    point, trainer = run.resume_point, run.trainer
    notes = [*run.data.notes, *run.notes, *(point.notes if point is not None else ())]
    if point is not None and point.same_run and resume != "auto" and is_first():
        notes += set_aside_later(point)
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else sys.maxsize
    if trainer.max_steps > 0:
        images = max(run.data.describe()["images"]["train"].values()) * run.data.repeat
        epochs = min(epochs, -(-trainer.max_steps * run.data.batch_sizes["train"] * trainer.world_size // images))
    beyond = beyond_end(run.method.schedule_factory, epochs)
    return notes if beyond is None else [*notes, beyond]


def _wandb_id(point: ResumePoint | None, run_dir: Path) -> str | None:
    """The W&B run of this folder, also where the run was stopped before its first checkpoint."""
    if point is not None:
        return point.wandb_id
    manifest = run_dir / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8")).get("wandb_id") if manifest.is_file() else None
