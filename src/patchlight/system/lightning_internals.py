"""The private parts of Lightning that this package needs; no other file reaches into them.

Read in Lightning 2.6.6. `tests/system/test_lightning_internals.py` fails where a release changes one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import Optimizer

SubprocessLauncher = _SubprocessScriptLauncher
"""What launches ranks as processes. A trainer that is interrupted kills those of a launcher of this class."""

share_threads = _set_num_threads_if_needed
"""Divides the cores among so many ranks of this machine, unless OMP_NUM_THREADS is set."""

silent_experiment = _DummyExperiment
"""An experiment of a logger that takes every call and does nothing."""

BATCHES = "epoch_loop.batch_progress"
"""The counters of batches among the states that the fit loop saves."""


@dataclass(frozen=True)
class LoopPosition:
    """The epoch and its batch that come next, and the batches of all epochs so far."""

    epoch: int
    batch: int
    total: int

    @classmethod
    def of(cls, trainer: Trainer) -> LoopPosition:
        """The position of a trainer that saves a checkpoint, after a batch or after an epoch."""
        loop = trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        epochs, within = loop.epoch_progress.current, batches.current
        assert isinstance(epochs, _ProcessedTracker)
        assert isinstance(within, _ProcessedTracker)
        assert isinstance(batches.total, _ProcessedTracker)
        epoch, batch = epochs.processed, within.processed
        ended = epochs.started == epochs.processed
        if ended and epochs.ready == epochs.processed and not batches.is_last_batch:
            epoch -= 1  # the run ends within an epoch, after max_steps: another may continue it there
        elif ended:
            batch = 0
        return cls(epoch, batch, batches.total.processed)

    def store(self, checkpoint: dict[str, Any]) -> None:
        """Replace the loops' counters in a checkpoint by those that there will be when the next batch is due."""
        states = checkpoint["loops"]["fit_loop"]
        begun = self.epoch + (self.batch > 0)
        progress = {"ready": begun, "started": begun, "processed": self.epoch, "completed": self.epoch}
        states["epoch_progress"] = {"total": dict(progress), "current": dict(progress)}
        states[BATCHES] = {
            "total": dict.fromkeys(progress, self.total),
            "current": dict.fromkeys(progress, self.batch),
            "is_last_batch": False,
        }


def set_batch(checkpoint: dict[str, Any], batch: int) -> None:
    """Let a run that is resumed from a checkpoint begin with this batch of the epoch; Lightning reads it later."""
    counters = checkpoint["loops"]["fit_loop"][BATCHES]["current"]
    counters.update(dict.fromkeys(counters, batch))


def count_batch(trainer: Trainer) -> None:
    """Count one step for `Trainer.global_step`, which in manual optimization adds up the steps of all optimizers."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def set_batches_logged(trainer: Trainer) -> None:
    """Let the loggers' steps be the trainer's; after a resume they are one more if a validation was passed over."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def call_optimizer_hooks(method: LightningModule, optimizer: Optimizer) -> None:
    """Call the hooks `on_before_optimizer_step` without Lightning's optimizer step."""
    method.trainer.precision_plugin._after_closure(method, optimizer)


def is_first() -> bool:
    """Whether this process is the one that writes and prints: rank 0, known before the ranks have met."""
    return getattr(rank_zero_only, "rank", 0) == 0
