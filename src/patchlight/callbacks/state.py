"""The state of a run in its checkpoints: its configuration, and its position to the batch."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.progress import _ProcessedTracker

from patchlight.checkpoint import RECORD_KEY, make_record
from patchlight.data import ImageDataModule
from patchlight.loggers import MetricsCSV, wandb_id
from patchlight.system.distributed import is_first


class RunRecord(Callback):
    """Puts the resolved configuration into every checkpoint, so that a model can be rebuilt from it alone."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[RECORD_KEY] = make_record(self.config)


class LoopState(Callback):
    """Puts into every checkpoint which batch of which epoch comes next, and how far the loggers were.

    Lightning saves the counters of its loops as they are at the moment, and guesses from their differences, on
    resuming, what had been done. Here they are saved as they will be when the next batch is due, which leaves nothing
    to guess; and the data module is told where to begin, so that no image is read twice or left out.
    """

    def __init__(self) -> None:
        self._resumed = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
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
        states = checkpoint["loops"]["fit_loop"]
        begun = epoch + (batch > 0)
        progress = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
        states["epoch_progress"] = {"total": dict(progress), "current": dict(progress)}
        names = ("ready", "started", "processed", "completed")
        states["epoch_loop.batch_progress"] = {
            "total": dict.fromkeys(names, batches.total.processed),
            "current": dict.fromkeys(names, batch),
            "is_last_batch": False,
        }
        data = _data_of(trainer)
        size = data.batch_sizes["train"] if data is not None else 1
        checkpoint["position"] = {
            "epoch": epoch,
            "batch": batch,
            "images": batch * size * trainer.world_size,
            "ranks": trainer.world_size,
        }
        checkpoint["loggers"] = {
            "csv_rows": next((lg.flushed_rows() for lg in trainer.loggers if isinstance(lg, MetricsCSV)), None),
            "wandb_id": wandb_id(trainer.loggers),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        position = checkpoint["position"]
        data = _data_of(trainer)
        if data is not None:
            data.begin_at(position["epoch"], position["images"])
            # Of this run's batches, which may be of another size; Lightning reads its counters after this.
            batch = position["images"] // (data.batch_sizes["train"] * trainer.world_size)
            counters = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            counters.update(dict.fromkeys(counters, batch))
            same = batch == position["batch"] and position["ranks"] == trainer.world_size
            if not same and is_first():
                print(
                    f"the checkpoint was of {position['ranks']} rank(s) and other batches than this run with "
                    f"{trainer.world_size}: it goes on from the same image, but not to the same bits",
                    file=sys.stderr,
                )
        self._resumed = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._resumed:
            # Lightning has counted once too often where it passed over a validation that had been done.
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self._resumed = False


def _data_of(trainer: Trainer) -> ImageDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ImageDataModule) else None
