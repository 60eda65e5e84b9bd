"""Progress in the terminal: losses, speed and the time that is left."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from pydantic import NonNegativeInt
from rich.console import Console

from patchlight.methods import TranslationMethod


class Progress(RichProgressBar):
    """A bar with the loss terms, images per second and the time left of the whole run; a line per validation.

    Figures are read every `refresh_rate` batches only: reading one waits for the device. Where the output is no
    terminal, only the lines are printed.
    """

    def __init__(self, refresh_rate: NonNegativeInt = 10) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=False)
        self._started = 0.0
        self._step_at_start = 0
        self._images_at_start = 0
        self._shown: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started = time.monotonic()
        self._step_at_start = trainer.global_step
        assert isinstance(pl_module, TranslationMethod)
        self._images_at_start = pl_module.images_seen

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        if not self._shown or trainer.global_step % self.refresh_rate == 0:
            self._shown = self._read_metrics(trainer, pl_module)
        return self._shown

    def _read_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        displayed: dict[str, Any] = {
            name.removeprefix("train/"): f"{float(value):.3f}"
            for name, value in trainer.progress_bar_metrics.items()
            if name.startswith("train/") and not name.endswith("_total")
        }
        elapsed = time.monotonic() - self._started
        done = trainer.global_step - self._step_at_start
        if trainer.training and done > 0 and isinstance(pl_module, TranslationMethod):
            displayed["img/s"] = f"{(pl_module.images_seen - self._images_at_start) / elapsed:.1f}"
            left = self._steps_left(trainer)
            if left is not None:
                displayed["left"] = str(timedelta(seconds=round(elapsed / done * left)))
        return displayed

    def _get_train_description(self, current_epoch: int) -> str:
        """The bar's title: Lightning counts epochs from 0, all other lines of a run from 1."""
        title = f"Epoch {current_epoch + 1}"
        if self.trainer.max_epochs is not None and self.trainer.max_epochs > 0:
            title += f"/{self.trainer.max_epochs}"
        return title.ljust(len(self.validation_description))  # or the bar would jump when validation begins

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        figures = "  ".join(
            f"{name.removeprefix('val/')} {float(value):.4f}"
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("val/") and name.count("/") == 1
        )
        console = self._console if self._console is not None else Console()
        console.print(
            f"epoch {trainer.current_epoch + 1:>3}  batch {trainer.global_step:>7}  {figures}", highlight=False
        )

    @staticmethod
    def _steps_left(trainer: Trainer) -> int | None:
        """Batches until the run ends, if that is known."""
        ends = [end for end in (trainer.max_steps,) if end >= 0]
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            per_epoch = trainer.num_training_batches
            if isinstance(per_epoch, int):
                ends.append(per_epoch * trainer.max_epochs)
        return max(0, min(ends) - trainer.global_step) if ends else None
