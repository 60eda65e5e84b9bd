"""When checkpoints are written: at moments from which a run can go on exactly."""

from __future__ import annotations

import math
import signal
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from pydantic import PositiveFloat, PositiveInt
from torch import distributed

from patchlight.callbacks.signals import Signals
from patchlight.checkpoint import BEST, LAST, PREVIOUS, AtomicCheckpointIO
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod


class BatchBoundary(Checkpoint):
    """Calls `at_safe_point` between two batches, when all that belongs to the one before is done.

    That is before a batch, before the first of an epoch, and at the end: validation has run, schedules have been
    stepped, and what was logged is with the loggers.
    """

    @abstractmethod
    def at_safe_point(self, trainer: Trainer) -> None:
        """Every rank is here, with no work of a batch open."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx > 0:
            self.at_safe_point(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0:
            self.at_safe_point(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.at_safe_point(trainer)


class LastCheckpoint(BatchBoundary):
    """Keeps the newest state of a run in `folder`/last.ckpt, and the one before it in previous.ckpt.

    Written at the end of every epoch, every `every_n_train_steps` batches, every `every_n_minutes`, and on SIGTERM,
    SIGUSR1 and SIGUSR2; after SIGTERM, and on a cluster after the others, the run ends, see `Signals`.

    Raises:
        ValueError: an interval that is not positive.
        TrainingError: the file cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        every_n_train_steps: PositiveInt | None = None,
        every_n_minutes: PositiveFloat | None = 10.0,
        every_n_epochs: PositiveInt = 1,
    ) -> None:
        for name, value in (
            ("every_n_train_steps", every_n_train_steps),
            ("every_n_minutes", every_n_minutes),
            ("every_n_epochs", every_n_epochs),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive{', or null for never' * (name != 'every_n_epochs')}")
        self.folder = Path(folder)
        self.every_n_train_steps = every_n_train_steps
        self.every_n_minutes = every_n_minutes
        self.every_n_epochs = every_n_epochs
        self._signals = Signals()
        self._control: Any = None
        self._saved_step = -1
        self._saved_at = 0.0

    @property
    def path(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.folder / LAST

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._signals.catch()  # by now Lightning has set its own handlers, which would end the run unsaved
        # A run that goes on from another folder's checkpoint has none of its own yet.
        self._saved_step = trainer.global_step if self.path.is_file() else -1
        self._saved_at = time.monotonic()
        if trainer.world_size > 1 and distributed.get_backend() != "gloo":
            # Signals and clocks are agreed on over the host, where nothing waits for the devices.
            self._control = distributed.new_group(backend="gloo")

    def at_safe_point(self, trainer: Trainer) -> None:
        minutes = (time.monotonic() - self._saved_at) / 60
        over = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        signum, over = self._agree(trainer, self._signals.received, over)
        every = self.every_n_train_steps
        if signum or over or (every is not None and trainer.global_step % every == 0):
            self._save(trainer)
        if signum:
            self._signals.answer(signal.Signals(signum), self.path)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 and trainer.current_epoch % self.every_n_epochs == 0:
            self._save(trainer)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        super().on_train_end(trainer, pl_module)
        self._signals.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._signals.release()

    def _save(self, trainer: Trainer) -> None:
        if self._saved_step == trainer.global_step:
            return
        trainer.save_checkpoint(self.path, storage_options={"previous": self.folder / PREVIOUS})
        self._saved_step = trainer.global_step
        self._saved_at = time.monotonic()

    def _agree(self, trainer: Trainer, signum: int, over: bool) -> tuple[int, bool]:
        """What any rank has seen, so that all do the same."""
        if trainer.world_size == 1:
            return signum, over
        options = torch.tensor([signum, int(over)])
        distributed.all_reduce(options, op=distributed.ReduceOp.MAX, group=self._control)
        return int(options[0]), bool(options[1])


class BestCheckpoint(BatchBoundary):
    """Keeps the state with the best value of a metric in `folder`/best.ckpt.

    `monitor` is any metric that validation logs. The file is written before the next batch. It is for using: it holds
    no image pools, so that a run which goes on from it begins these anew. Not a number counts as worse than anything.

    Raises:
        ConfigError: there is no such metric.
    """

    def __init__(
        self, folder: str | Path, monitor: str = "val/l1", mode: Literal["min", "max"] = "min", filename: str = BEST
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be min or max, got {mode!r}")
        self.folder = Path(folder)
        self.monitor = monitor
        self.mode = mode
        self.filename = filename
        self.score: float | None = None
        self._pending = False

    @property
    def path(self) -> Path:
        """Where the best checkpoint lies."""
        return self.folder / self.filename

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.path.is_file():  # a run that goes on from another folder's checkpoint has none of its own yet
            self.score = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            raise ConfigError(
                f"callbacks.best.monitor={self.monitor} is not a metric of validation; there are: "
                f"{', '.join(sorted(name for name in trainer.callback_metrics if name.startswith('val/')))}"
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self._is_better(score, self.score):
            self.score = score
            self._pending = True

    def improves(self, trainer: Trainer) -> bool:
        """Whether the validation that has just ended is the best so far, asked before or after `on_validation_end`."""
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        return self._is_better(score, self.score) or (self._pending and score == self.score)

    def _is_better(self, score: float, than: float | None) -> bool:
        return score == score and (than is None or (score < than if self.mode == "min" else score > than))

    def at_safe_point(self, trainer: Trainer) -> None:
        if self._pending:
            self._pending = False
            assert isinstance(trainer.lightning_module, TranslationMethod)
            with trainer.lightning_module.without_pools():
                trainer.save_checkpoint(self.path)

    def keep(self, last: dict[str, Any], figures: Mapping[str, float]) -> None:
        """Write a run's last checkpoint as the best, if figures that were measured after the training say that it is.

        The last checkpoint itself stays as it is: a run that goes on from it does so as if it had not been stopped.
        """
        before = last["callbacks"].get(self.state_key, {}).get("score")
        score = float(figures.get(self.monitor, math.nan))
        if self._is_better(score, before):
            last["callbacks"][self.state_key] = {"score": score, "pending": False}
            last["progress"] |= {"validated_step": last["global_step"], "metrics": dict(figures)}
            for rank in last["ranks"]:
                if any(pool["images"] for pool in (rank.get("pools") or {}).values()):
                    rank["pools"] = None
            AtomicCheckpointIO().save_checkpoint(last, self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "pending": self._pending}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score = state_dict["score"]
        self._pending = state_dict["pending"]
