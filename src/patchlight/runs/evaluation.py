"""The test of a run's weights, last and best, and the protocol under which their figures hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig, OmegaConf

from patchlight.build import (
    build_data,
    build_method,
    build_performance,
    build_trainer,
    data_channels,
    data_contents,
)
from patchlight.callbacks import EMA, BestCheckpoint, LastCheckpoint, Quality
from patchlight.checkpoint import Weights, read_checkpoint, weights
from patchlight.config.attribution import recorded_in
from patchlight.config.messages import one_line
from patchlight.data.contract import TrainingData
from patchlight.errors import DataError
from patchlight.methods import TranslationMethod
from patchlight.system.files import write_json

Figures = dict[str, float]
EvaluationSplit = Literal["val", "test"]

SPLITS: tuple[EvaluationSplit, ...] = get_args(EvaluationSplit)


class Evaluation:
    """Measures the model on the test split and keeps the figures with their protocol."""

    def __init__(
        self, cfg: DictConfig, method: TranslationMethod, data: TrainingData, callbacks: dict[str, Callback]
    ) -> None:
        self.cfg = cfg
        self.method = method
        self.data = data
        self.callbacks = callbacks
        self.quality = _first(callbacks, Quality)
        self.last = _first(callbacks, LastCheckpoint)
        self.best = _first(callbacks, BestCheckpoint)
        self.left_out: list[Callback] = []
        self.figures: dict[str, Figures] = {}
        self.validation: Figures = {}

    def prepare(self) -> None:
        """Find out, before anything is written, whether the metrics can be had of these images.

        Raises:
            ConfigError: see `Quality`.
        """
        if self.quality is not None:
            a, b = self.cfg.data.direction.split("to")  # the domains on the disk that batches call A and B
            counts = {split: (n[a], n[b]) for split, n in self.data.describe()["images"].items()}
            self.quality.prepare(
                image_size=self._image_size() if self.data.of_one_size else None,
                n_images={split: counts[split] for split in ("val", "test")},
            )
            contents = data_contents(self.cfg.data)
            self.quality.prepare_custom(self.method, {domain: c.written for domain, c in contents.items()})

    @property
    def stages(self) -> list[str]:
        """`val` and `test`, as far as both domains have images for them that are looked at."""
        numbers = self.data.describe()["images"]
        return [stage for stage in SPLITS if all(numbers[stage].values()) and self.has_images(stage)]

    def leave_out(self, best: BestCheckpoint) -> None:
        """Do without a best checkpoint."""
        self.left_out.append(best)
        if self.best is best:
            self.best = None

    def measure(self, name: str, split: EvaluationSplit = "test", callbacks: Sequence[Callback] = ()) -> None:
        """Figures of the weights in memory on the images of a split, if it has any, without a trace in the loggers."""
        self.data.module.setup("fit" if split == "val" else "test")
        if self.quality is None or not self.has_images(split):
            return
        trainer = build_trainer(self.cfg, [*self.data.callbacks, self.quality, *callbacks], loggers=False)
        run = trainer.test if split == "test" else trainer.validate
        self.figures[name] = _without_prefix(run(self.method, datamodule=self.data.module, verbose=False), split)

    def finish(self, trainer: Trainer, run_dir: Path) -> None:
        """Figures of the last weights, logged, and of the best checkpoint; writes metrics.json."""
        # From the files: they are there for every rank, also where processes of their own have trained.
        validated = self.method.validated_step == trainer.global_step
        logged: Mapping[str, Any] = dict(trainer.callback_metrics)
        saved: dict[str, Any] | None = None
        if self.last is not None and self.last.path.is_file():
            saved = self._load(self.last.path)
            validated = saved["progress"]["validated_step"] == saved["global_step"]
            logged = saved["progress"]["metrics"]
            if trainer.global_step != saved["global_step"]:  # spawned ranks have trained, and this process counted none
                trainer.fit_loop.load_state_dict(saved["loops"]["fit_loop"])
        elif (ema := _first(self.callbacks, EMA)) is not None and ema.averages:
            self.method.load_state_dict(ema.averages, strict=False)
        if self.has_images("val") and not validated:  # `max_steps` ended the run within an epoch
            logged = trainer.validate(self.method, datamodule=self.data.module, verbose=False)[0]
            if self.best is not None and saved is not None:
                if trainer.is_global_zero:
                    self.best.keep(saved, logged)
                trainer.strategy.barrier()
        self.validation = _without_prefix([logged], "val")
        if self.quality is not None and self.has_images("test"):
            self.figures["last"] = _without_prefix(
                trainer.test(self.method, datamodule=self.data.module, verbose=False), "test"
            )
        if self.best is not None and self.best.path.is_file():
            self._load(self.best.path)
            self.measure("best")
        if trainer.is_global_zero:
            averaged = _first(self.callbacks, EMA) is not None
            write_json(run_dir / "metrics.json", {**self.figures, "protocol": self.protocol(averaged)})

    def objective(self, name: str) -> float:
        """A figure by its name: `val/<metric>` of the last validation, `test/<metric>` of the last weights."""
        stage, _, metric = name.partition("/")
        return (self.validation if stage == "val" else self.figures["last"])[metric]

    def _load(self, path: Path) -> dict[str, Any]:
        checkpoint = read_checkpoint(path)
        self.method.load_state_dict(weights(checkpoint))
        return checkpoint

    def has_images(self, split: EvaluationSplit) -> bool:
        """Whether the data has images of a split, and `trainer.limit_val_batches` or `limit_test_batches` is not 0."""
        return self.count(split) > 0 and self.cfg.trainer[f"limit_{split}_batches"] != 0

    def count(self, split: EvaluationSplit) -> int:
        """The images of domain A of a split."""
        return int(self.data.describe()["images"][split]["A"])

    def _image_size(self) -> int | list[int]:
        size = self.cfg.data.image_size
        return size if isinstance(size, int) else list(size)

    def protocol(self, averaged: bool, split: EvaluationSplit = "test") -> dict[str, Any]:
        """What the figures rest on; `averaged` says whether the weights are moving averages."""
        return {
            "split": split,
            "images": self.count(split),
            "files": self.data.fingerprint(split),
            "direction": self.cfg.data.direction,
            "preprocess": self.data.prepared,
            "image_size": self._image_size(),
            "inference_mode": self.method.inference_mode,
            "batch_size": self.data.batch_sizes[split],
            "weights": "moving average" if averaged else "as trained",
            "precision": self.cfg.trainer.precision,
            "compared": dict(self.method.references),
            "best_is": f"{self.best.mode} {self.best.monitor}" if self.best is not None else None,
            "seeds": {"run": self.cfg.seed, "dropout noise": "the batch's number"},
            "metrics": self._metrics(),
            **self._values(),
        }

    def _values(self) -> dict[str, Any]:
        """What the values of images are that are no colours of 8 bits."""
        found = {domain: content.describe() for domain, content in data_contents(self.cfg.data).items()}
        said = {domain: what for domain, what in found.items() if what is not None}
        return {"values": said} if said else {}

    def _metrics(self) -> dict[str, Any]:
        """What each figure is; of the metrics of the configuration with their arguments."""
        if self.quality is None:
            return {}
        key = next(name for name, callback in self.callbacks.items() if callback is self.quality)
        own: Any = OmegaConf.to_container(OmegaConf.create(self.cfg.callbacks[key].get("metrics") or {}), resolve=True)
        described = self.quality.protocol
        return described | {name: described[name] | {"settings": node} for name, node in own.items()}


def method_and_data(
    cfg: DictConfig, checkpoint: Mapping[str, Any], path: str | Path, which: Weights
) -> tuple[TranslationMethod, TrainingData]:
    """The method of a configuration with a checkpoint's weights, and the data to measure it on.

    Raises:
        DataError: the file holds other networks than its own record describes, or a configuration that cannot be used.
    """
    state, channels = weights(checkpoint, which), data_channels(cfg.data)
    try:
        with recorded_in(path):
            with torch.device("meta"):  # so that no more memory is taken than the file holds weights for
                build_method(cfg.model, channels, for_training=False).load_state_dict(state, assign=True)
            method = build_method(cfg.model, channels, for_training=False)
        method.load_state_dict(state)
    except RuntimeError as error:
        detail = one_line(error)[:300]
        raise DataError(f"{path} holds other networks than its own record describes ({detail})") from None
    build_performance(cfg.perf).apply(method, cfg.trainer.precision, cfg.trainer.accelerator)
    with recorded_in(path):
        return method, build_data(cfg.data, method)


C = TypeVar("C", bound=Callback)


def _first(callbacks: dict[str, Callback], kind: type[C]) -> C | None:
    return next((callback for callback in callbacks.values() if isinstance(callback, kind)), None)


def _without_prefix(results: Any, stage: str) -> Figures:
    prefix = f"{stage}/"
    return {name.removeprefix(prefix): float(value) for name, value in results[0].items() if name.startswith(prefix)}
