"""The figures that a run follows or returns, checked before its first batch: monitors and the objective."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from patchlight.callbacks import BestCheckpoint, Quality
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.metrics import PairedMetrics
from patchlight.runs.evaluation import SPLITS, Evaluation

KNOWN_CODE = ("patchlight.", "lightning.", "pytorch_lightning.")
"""Packages whose callbacks and methods log no figure of validation but those of `Quality`."""

OF_TRAINING = ("train/", "health/")
"""Figures that training logs, whose names nothing says before."""


@dataclass(frozen=True)
class Monitor:
    """A figure by which something is decided: `callbacks.best` and the like, and whether it looks for min or max."""

    key: str
    figure: str
    mode: str
    best: BestCheckpoint | None = None
    late: bool = False
    """Whether a training may log it only after the first step of both sides, as a penalty with an interval."""

    def __str__(self) -> str:
        return f"{self.key}.monitor={self.figure}"


def check_monitors(evaluation: Evaluation) -> tuple[list[Monitor], list[str]]:
    """The figures that are known only once they are logged, and a sentence for each best checkpoint that is left out.

    Best checkpoints are left out where there is no validation or no metric for them to follow.

    Raises:
        ConfigError: a figure that nothing measures, or one that is better in the other direction.
    """
    unsure: list[Monitor] = []
    notes: list[str] = []
    for monitor in _monitors(evaluation):
        if reason := _why_not_measured(monitor, evaluation):
            if monitor.best is None:
                raise ConfigError(f"{monitor} is not measured: {reason}")
            evaluation.leave_out(monitor.best)
            file, figure = monitor.best.filename, monitor.figure
            notes.append(f"no {file}: {figure}, which would choose it, is not measured: {reason}")
        elif _is_known(monitor, evaluation):
            _check_mode(monitor, evaluation)
        else:
            model = evaluation.cfg.model
            named = (*(model.get("penalties") or ()), *(model.get("generator_terms") or ()))
            names = ("variety", "grad_", "d_overfit", "d_logit_seen", "d_logit_held_out", *named)
            late = _logs_figures_of_its_own(evaluation) or any(name in monitor.figure for name in names)
            unsure.append(replace(monitor, late=late))
    return unsure, notes


def check_objective(
    name: str | None, quality: Quality | None, method: TranslationMethod, stages: Sequence[str] = SPLITS
) -> None:
    """See whether a run has the figure that `objective` names; `stages` are those that it has images for.

    Raises:
        ConfigError: it has not; the message lists those that it has.
    """
    if name is None:
        return
    if quality is None:
        raise ConfigError(f"objective={name} is a figure of callbacks.quality, which is not there: add it")
    stage = name.partition("/")[0]
    if stage in SPLITS and stage not in stages:
        raise ConfigError(f"objective={name} needs images of the {stage} split, and the run looks at none")
    valid = [f"{stage}/{figure}" for stage in stages for figure in quality.figure_names(method)]
    if name not in valid:
        raise unknown_figure("objective", name, valid)


def unknown_figure(key: str, name: str, valid: Iterable[str]) -> ConfigError:
    """The error for a figure that a run has not, with those that it has."""
    names = list(valid)
    close = [v for v in names if v.endswith(f"/{name}")] or difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return ConfigError(f"{key}={name} is no figure of this run: {hint}there are {', '.join(names)}")


class RequireFigures(Callback):
    """Ends a run that follows a figure which nothing logs.

    One batch is validated before the first of training, which shows whether figures of validation are there; those of
    training are looked for after the first step of both sides, or at the end of the first epoch if they may come late.

    Raises:
        ConfigError: it is not there; the message has those that are.
    """

    def __init__(self, monitors: list[Monitor]) -> None:
        self.of_training = [m for m in monitors if m.figure.startswith(OF_TRAINING)]
        self.of_validation = [m for m in monitors if m not in self.of_training]
        self.early = [m for m in self.of_training if not m.late]
        self.steps_before = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and self.of_validation:
            trainer.num_sanity_val_steps = trainer.num_sanity_val_steps or 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            _require(self.of_validation, trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TranslationMethod)
        self.steps_before = pl_module.d_steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, TranslationMethod)
        if self.early and pl_module.d_steps - self.steps_before >= pl_module.d_steps_per_g_step:
            logged = {name.partition("/")[0] for name in trainer.callback_metrics}  # `health` when the trainer logs
            due = [monitor for monitor in self.early if monitor.figure.partition("/")[0] in logged]
            _require(due, trainer)
            self.early = [monitor for monitor in self.early if monitor not in due]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _require(self.of_training, trainer)


def _require(monitors: list[Monitor], trainer: Trainer) -> None:
    logged = trainer.callback_metrics
    for monitor in monitors:
        if monitor.figure not in logged:
            raise unknown_figure(
                f"{monitor.key}.monitor", monitor.figure, sorted(name for name in logged if "/" in name)
            )


def _monitors(evaluation: Evaluation) -> Iterator[Monitor]:
    schedule: Any = evaluation.cfg.model.schedule
    if schedule.get("monitor") is not None:
        yield Monitor("model.schedule", schedule.monitor, schedule.get("mode", "min"))
    for name, callback in evaluation.callbacks.items():
        if isinstance(callback, EarlyStopping):
            yield Monitor(f"callbacks.{name}", callback.monitor, callback.mode)
        elif isinstance(callback, BestCheckpoint):
            yield Monitor(f"callbacks.{name}", callback.monitor, callback.mode, callback)


def _why_not_measured(monitor: Monitor, evaluation: Evaluation) -> str | None:
    """Why there is no validation for a figure, or nothing that measures it."""
    if not monitor.figure.startswith("val/") and monitor.best is None:
        return None
    if not evaluation.count("val"):
        return "there are no images for validation"
    if not evaluation.has_images("val"):
        return "trainer.limit_val_batches=0 leaves validation out"
    figure, quality = monitor.figure.removeprefix("val/"), evaluation.quality
    if quality is None:
        return "there is no callbacks.quality" if figure in PairedMetrics().names((0, 0)) else None
    paired = quality.paired.names(quality.image_size)
    if figure in paired and figure not in quality.figure_names(evaluation.method):
        return f"{type(evaluation.method).__name__} has no references"
    return None


def _is_known(monitor: Monitor, evaluation: Evaluation) -> bool:
    """Whether `Quality` measures a figure; if not, code that is not this package's may log it, or training.

    Raises:
        ConfigError: neither can be.
    """
    quality, method = evaluation.quality, evaluation.method
    names = [f"val/{name}" for name in quality.figure_names(method)] if quality is not None else []
    if monitor.figure in names:
        return True
    if not monitor.figure.startswith(OF_TRAINING) and not _logs_figures_of_its_own(evaluation):
        raise unknown_figure(f"{monitor.key}.monitor", monitor.figure, names)
    return False


def _logs_figures_of_its_own(evaluation: Evaluation) -> bool:
    """Whether there is code of a user's, whose figures nothing says before they are logged."""
    may_log = [evaluation.method, *evaluation.callbacks.values()]
    return any(not type(one).__module__.startswith(KNOWN_CODE) for one in may_log)


def _check_mode(monitor: Monitor, evaluation: Evaluation) -> None:
    assert evaluation.quality is not None
    higher = evaluation.quality.higher_is_better(monitor.figure.removeprefix("val/"))
    if higher is not None and higher != (monitor.mode == "max"):
        better, needed = ("higher", "max") if higher else ("lower", "min")
        raise ConfigError(f"{monitor} is better the {better} it is: give {monitor.key}.mode={needed}")
