"""One training run, from a composed configuration to the files it leaves behind."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from patchlight.build import (
    build_callbacks,
    build_data,
    build_loggers,
    build_method,
    build_trainer,
    data_channels,
    patch_geometries,
)  # fmt: skip
from patchlight.callbacks import Quality, RunRecord, Samples
from patchlight.checkpoint import read_checkpoint
from patchlight.config import complete
from patchlight.data import ImageDataModule
from patchlight.manifest import make_manifest, write_json
from patchlight.methods import TranslationMethod
from patchlight.schema import validate

Figures = dict[str, float]


def train(cfg: DictConfig) -> None:
    """Train, evaluate and sum up; everything is written below `paths.run_dir`.

    Raises:
        UserError: something in the configuration or the data is the user's to put right.
    """
    validate(cfg)
    complete(cfg)
    run_dir = Path(cfg.paths.run_dir)
    console = Console(highlight=False, soft_wrap=True)
    _quieten()
    try:
        seed_everything(cfg.seed, verbose=False)
        method = build_method(cfg.model, data_channels(cfg.data))
        geometries = patch_geometries(method, cfg.data.image_size)
        data = build_data(cfg.data, method)
        assert isinstance(data, ImageDataModule)
        data.prepare_data()
        data.setup("fit")
        if not data.val_paths:
            cfg.trainer.limit_val_batches = 0
        callbacks = build_callbacks(cfg)
        loggers = build_loggers(cfg)
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        trainer = build_trainer(cfg, [*_usable(callbacks, data), RunRecord(config)], loggers)
        checkpoint = _checkpoint_to_resume(cfg.resume, run_dir)
    except BaseException:
        if run_dir.is_dir() and not any(run_dir.iterdir()):
            run_dir.rmdir()
        raise
    for geometry in geometries:
        console.print(str(geometry))
    run_dir.mkdir(parents=True, exist_ok=True)
    with _open(loggers, config):
        OmegaConf.save(cfg, run_dir / "config.yaml")
        discriminators = {geometry.name: asdict(geometry) for geometry in geometries}
        write_json(run_dir / "manifest.json", make_manifest(cfg.seed, discriminators, data.describe()))
        evaluation = Evaluation(cfg, method, data, callbacks)
        if cfg.evaluate_untrained:
            evaluation.measure("untrained")
        trainer.fit(method, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if data.val_paths and not _validated(trainer, callbacks):
            trainer.validate(method, datamodule=data, verbose=False)
        evaluation.finish(trainer, run_dir)
    _print_summary(console, run_dir, evaluation.figures, callbacks)


class Evaluation:
    """Measures the model on the test split and keeps the figures with their protocol."""

    def __init__(
        self, cfg: DictConfig, method: TranslationMethod, data: ImageDataModule, callbacks: dict[str, Callback]
    ) -> None:
        self.cfg = cfg
        self.method = method
        self.data = data
        self.quality = next((c for c in callbacks.values() if isinstance(c, Quality)), None)
        self.best = next((c for c in callbacks.values() if isinstance(c, ModelCheckpoint) and c.monitor), None)
        self.figures: dict[str, Figures] = {}

    def measure(self, name: str, checkpoint: str | None = None) -> None:
        """Figures of the weights in memory, or of a checkpoint's, without a trace in the loggers."""
        if self.quality is None or not self._has_test_images():
            return
        if checkpoint is not None:
            self.method.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
        trainer = build_trainer(self.cfg, [self.quality], loggers=False)
        self.figures[name] = _without_prefix(trainer.test(self.method, datamodule=self.data, verbose=False))

    def finish(self, trainer: Trainer, run_dir: Path) -> None:
        """Figures of the last weights, logged, and of the best checkpoint; writes metrics.json."""
        if self.quality is not None and self._has_test_images():
            self.figures["last"] = _without_prefix(trainer.test(self.method, datamodule=self.data, verbose=False))
        if self.best is not None and self.best.best_model_path:
            self.measure("best", self.best.best_model_path)
        write_json(run_dir / "metrics.json", {**self.figures, "protocol": self._protocol()})

    def _has_test_images(self) -> bool:
        self.data.setup("test")
        return bool(self.data.test_paths)

    def _protocol(self) -> dict[str, Any]:
        return {
            "split": "test",
            "images": len(self.data.test_paths),
            "image_size": OmegaConf.to_container(self.cfg.data).get("image_size"),  # type: ignore[union-attr]
            "preprocess": f"{self.cfg.data.preprocess}, without crop margin or flip",
            "inference_mode": self.cfg.model.inference_mode,
            "compared": dict(self.method.references),
            "best_is": f"{self.best.mode} {self.best.monitor}" if self.best is not None else None,
            "metrics": self.quality.protocol if self.quality is not None else {},
        }


def _without_prefix(results: Any) -> Figures:
    return {name.removeprefix("test/"): float(value) for name, value in results[0].items()}


def _checkpoint_to_resume(resume: str | None, run_dir: Path) -> str | None:
    """The checkpoint that `resume` means, read once to be sure that it can be."""
    if resume is None:
        return None
    path = run_dir / "checkpoints" / "last.ckpt" if resume == "auto" else Path(resume)
    if resume == "auto" and not path.is_file():
        return None
    read_checkpoint(path)
    return str(path)


def _usable(callbacks: dict[str, Callback], data: ImageDataModule) -> list[Callback]:
    """Without validation images there is no best checkpoint to be kept."""
    return [
        callback
        for callback in callbacks.values()
        if data.val_paths or not (isinstance(callback, ModelCheckpoint) and callback.monitor)
    ]


def _validated(trainer: Trainer, callbacks: dict[str, Callback]) -> bool:
    """Whether the last weights have been validated; not so if `max_steps` ended the run within an epoch."""
    samples = next((c for c in callbacks.values() if isinstance(c, Samples)), None)
    return samples is not None and samples.validated_step == trainer.global_step


@contextmanager
def _open(loggers: list[Logger], config: dict[str, Any]) -> Iterator[None]:
    """Loggers with the configuration in them; closed at the end, so that the next job of a sweep has its own."""
    exit_code = 1
    try:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                offline = any(node.get("offline") for node in config["logger"].values() if node)
                wandb.setup(settings=wandb.Settings(silent=True, mode="offline" if offline else "online"))
                logger.log_hyperparams(config)
        yield
        exit_code = 0
    finally:
        for logger in loggers:
            logger.finalize("success" if exit_code == 0 else "failed")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=exit_code)


def _quieten() -> None:
    """Only what concerns the user: advice and version notices of the libraries are left out."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*is deprecated, use `isinstance.treespec.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message)


def _print_summary(
    console: Console, run_dir: Path, figures: dict[str, Figures], callbacks: dict[str, Callback]
) -> None:
    if figures:
        table = Table("test", *figures)
        for name in next(iter(figures.values())):
            table.add_row(name, *(f"{values[name]:.4f}" for values in figures.values()))
        console.print(table)
    samples = next((c.latest for c in callbacks.values() if isinstance(c, Samples) and c.latest), None)
    for title, path in (
        ("samples", samples),
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
