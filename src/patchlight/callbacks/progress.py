"""Progress in the terminal: losses, speed and the time that is left, on one line, and a line for each validation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import CustomBarColumn
from pydantic import NonNegativeInt
from rich import get_console
from rich.progress import ProgressColumn, Task, TextColumn
from rich.text import Text

from patchlight.callbacks.checkpoints import BestCheckpoint
from patchlight.callbacks.quality import figure_title
from patchlight.methods import TranslationMethod
from patchlight.system.console import join, say

ESTIMATED_AFTER_S = 10.0
"""Seconds of training after which the time that is left is said; the first batches are slower than the others."""

LEAST_BATCHES = 5
"""Batches that have to be done before it is said."""

GAP = 2
"""Columns between the parts of the bar."""


class Progress(RichProgressBar):
    """A bar of one line with the time left of the whole run, images per second and as many loss terms as there is room
    for; a line for each validation.

    Where not all terms have room, `g` and `d` come first, the totals of generators and discriminators. Figures are read
    every `refresh_rate` batches only: reading one waits for the device. Images per second are those of the training,
    without validation, its pictures and what is saved after it; the time left is that of all. Where the output is no
    terminal, only the lines are printed. Epochs count from 1.
    """

    def __init__(self, refresh_rate: NonNegativeInt = 10) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=False)
        self.terms: dict[str, str] = {}
        """The terms' last values, by name, as text."""
        self._clock = Clock()
        self._estimated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        assert isinstance(pl_module, TranslationMethod)
        self._clock.start(trainer.global_step, pl_module.images_seen)
        self._estimated = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._clock.resume()  # only now are the pictures of a validation drawn, and its checkpoint written
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        self._clock.count(trainer.global_step, pl_module.images_seen)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        left = self.seconds_left
        enough = self._clock.training_s >= ESTIMATED_AFTER_S and self._clock.batches >= LEAST_BATCHES
        if not self._estimated and enough and left is not None and trainer.is_global_zero:
            self._estimated = True
            say(f"after {self._clock.batches} batches: {self._clock.images_per_s:.1f} img/s, about {hms(left)} left")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.pause()
        super().on_validation_start(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        figures = {k.removeprefix("val/"): float(v) for k, v in trainer.callback_metrics.items() if k[:4] == "val/"}
        followers = [c for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)]
        best = {c.monitor.removeprefix("val/") for c in followers if c.improves(trainer)}
        epochs = f"/{trainer.max_epochs}" if trainer.max_epochs not in (None, -1) else ""
        place = f"epoch {trainer.current_epoch + 1:>{len(epochs) - 1 if epochs else 3}}{epochs}"
        items = [
            f"{figure_title(name, figures)} {value:.4f}{' (best so far)' if name in best else ''}"
            for name, value in sorted(figures.items())
            if "/" not in name or name in best
        ]
        console = get_console()
        width = console.width if console.is_terminal else 10_000
        say(*join([f"{place}  batch {trainer.global_step:>6}", *items], width, indent=" " * 4), wrapped=True)

    @property
    def seconds_left(self) -> float | None:
        """The time until the run ends, validations included, if that is known."""
        steps = steps_left(self.trainer)
        return (
            self._clock.elapsed_s / self._clock.batches * steps if steps is not None and self._clock.batches else None
        )

    @property
    def images_per_s(self) -> float | None:
        """The images of all ranks that a second of training has taken."""
        return self._clock.images_per_s if self._clock.batches else None

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        bar = CustomBarColumn(
            bar_width=max(8, min(40, get_console().width // 10)), complete_style=self.theme.progress_bar,
            finished_style=self.theme.progress_bar_finished, pulse_style=self.theme.progress_bar_pulse,
        )  # fmt: skip
        return [TextColumn("{task.description}"), bar, StatusColumn(self, bar)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Nothing for Lightning's own column, which breaks lines: `StatusColumn` shows the terms."""
        if not self.terms or trainer.global_step % self.refresh_rate == 0:
            found = trainer.callback_metrics.items()
            self.terms = {k.removeprefix("train/"): f"{float(v):.3f}" for k, v in found if k.startswith("train/")}
        return {}

    def _get_train_description(self, current_epoch: int) -> str:
        """The bar's title: Lightning counts epochs from 0, all other lines of a run from 1."""
        title = f"Epoch {current_epoch + 1}"
        if self.trainer.max_epochs is not None and self.trainer.max_epochs > 0:
            title += f"/{self.trainer.max_epochs}"
        return title.ljust(len(self.validation_description))  # or the bar would jump when validation begins


class StatusColumn(ProgressColumn):
    """What stands behind the bar: batches and, in training, time left, images per second and loss terms.

    It takes the columns of the terminal that are left, and never a second line.
    """

    def __init__(self, progress: Progress, bar: CustomBarColumn) -> None:
        super().__init__()
        self.owner = progress
        self.bar_width = bar.bar_width or 0

    def render(self, task: Task) -> Text:
        total = int(task.total) if task.total is not None and task.total != float("inf") else "--"
        status = f"{int(task.completed)}/{total}"
        if task.id == self.owner.train_progress_bar_id:
            left, speed = self.owner.seconds_left, self.owner.images_per_s
            status += f"{hms(left) if left is not None else '-:--:--':>{GAP + 7}} left"
            status += f"  {speed:.1f} img/s" if speed is not None else ""
            taken = len(task.description) + self.bar_width + len(status) + 3 * GAP
            terms = choose_terms(self.owner.terms, get_console().width - taken)
            status += "".join(f"  {name} {value}" for name, value in terms.items())
        return Text(status, no_wrap=True, overflow="ellipsis")


class Clock:
    """Takes the time of a training, and of it that of the batches alone."""

    def __init__(self) -> None:
        self.start(0, 0)

    def start(self, step: int, images: int) -> None:
        """Begin at this batch, with so many images seen."""
        self._began, self._began_at = time.monotonic(), (step, images)
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self.batches, self.images = 0, 0

    def count(self, step: int, images: int) -> None:
        """So many batches and images there have been by now, those before the start included."""
        self.batches, self.images = step - self._began_at[0], images - self._began_at[1]

    def pause(self) -> None:
        """Something else than batches begins."""
        self._paused_at = time.monotonic() if self._paused_at is None else self._paused_at

    def resume(self) -> None:
        """A batch begins."""
        if self._paused_at is not None:
            self._paused_s += time.monotonic() - self._paused_at
            self._paused_at = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def training_s(self) -> float:
        """Seconds without pauses."""
        return (self._paused_at or time.monotonic()) - self._began - self._paused_s

    @property
    def images_per_s(self) -> float:
        """Images a second, without pauses."""
        return self.images / max(self.training_s, 1e-9)


def choose_terms(terms: Mapping[str, str], width: int) -> dict[str, str]:
    """The loss terms that have room in so many columns, each with two before it.

    All but the totals if they have; else the totals, as `g` and `d`, which all others are in, and of the others the
    first ones.
    """
    totals = {name[:1]: terms[name] for name in ("g_total", "d_total") if name in terms}
    single = {name: value for name, value in terms.items() if not name.endswith("_total")}
    if _width(single) <= width:
        return single
    chosen: dict[str, str] = {}
    for name, value in (totals | single).items():
        if _width(chosen | {name: value}) > width:
            break
        chosen[name] = value
    return chosen


def _width(terms: Mapping[str, str]) -> int:
    return sum(GAP + len(name) + 1 + len(value) for name, value in terms.items())


def hms(seconds: float) -> str:
    """Hours, minutes and seconds: `27:02:11`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def steps_left(trainer: Trainer) -> int | None:
    """Batches until the run ends, if that is known."""
    ends = [end for end in (trainer.max_steps,) if end >= 0]
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        per_epoch = trainer.num_training_batches
        if isinstance(per_epoch, int):
            ends.append(per_epoch * trainer.max_epochs)
    return max(0, min(ends) - trainer.global_step) if ends else None
