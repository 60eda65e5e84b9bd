"""How long a run has trained: the horizontal axis of quality against time."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer

from patchlight.methods import TranslationMethod

TIMES = "times.csv"


class Times(NamedTuple):
    """A row of `times.csv`: batches, images and seconds since the beginning of a run.

    `train_seconds` is the wall clock, without validations; `processor_seconds` the time in which the processor worked
    for this process, on all cores together, which other work on the machine hardly changes.
    """

    step: int
    images_seen: int
    train_seconds: float
    processor_seconds: float


class TrainingClock(Callback):
    """Writes `times.csv`: at each logged step and each validation, how long the run has trained so far.

    What counts is reading images, steps, and what other callbacks do beside steps; validations, their metrics and
    pictures do not. Of a device that works by itself, a GPU, the wall clock counts as much as the host has waited for
    it, and it waits at every logged step. A run that is resumed in its folder goes on from the last row before its
    checkpoint.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / TIMES
        self._now = Times(0, 0, 0.0, 0.0)
        self._written = 0
        self._since: tuple[float, float] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = [row for row in read_times(self.path) if row.step <= trainer.global_step] if trainer.global_step else []
        self._now = rows[-1] if rows else Times(0, 0, 0.0, 0.0)
        self._written = self._now.step
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([Times._fields, *rows])
        self._run()  # a run that goes on within an epoch has no start of one

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TranslationMethod)
        self._add(trainer.global_step, pl_module.images_seen)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it, undeclared
        if every and trainer.global_step % every == 0:
            self._write(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = None
        self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def _run(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def _add(self, step: int, images_seen: int) -> None:
        assert self._since is not None
        wall, processor = self._since
        self._run()
        self._now = Times(
            step,
            images_seen,
            self._now.train_seconds + self._since[0] - wall,
            self._now.processor_seconds + self._since[1] - processor,
        )

    def _write(self, trainer: Trainer) -> None:
        """Append a row, unless there is one of this step."""
        if not trainer.is_global_zero or trainer.state.fn != "fit" or self._now.step == self._written:
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            now = self._now
            csv.writer(file).writerow([now.step, now.images_seen, *(f"{each:.3f}" for each in now[2:])])
        self._written = self._now.step


def read_times(path: Path) -> list[Times]:
    """The rows of a `times.csv`; none where there is no such file. A row that was cut off at its end is left out."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                rows.append(
                    Times(int(row["step"]), int(row["images_seen"]), *(float(row[name]) for name in Times._fields[2:]))
                )
            except (KeyError, TypeError, ValueError):
                break
    return rows
