"""The state of a run in its checkpoints: its configuration, and its position to the batch."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from patchlight.checkpoint import RECORD_KEY, make_record
from patchlight.data import ImageDataModule
from patchlight.loggers import MetricsCSV, wandb_id
from patchlight.system.distributed import is_first
from patchlight.system.lightning_internals import LoopPosition, set_batch, set_batches_logged


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
        position = LoopPosition.of(trainer)
        position.store(checkpoint)
        data = _data_of(trainer)
        size = data.batch_sizes["train"] if data is not None else 1
        checkpoint["position"] = {
            "epoch": position.epoch,
            "batch": position.batch,
            "images": position.batch * size * trainer.world_size,
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
            # Of this run's batches, which may be of another size.
            batch = position["images"] // (data.batch_sizes["train"] * trainer.world_size)
            set_batch(checkpoint, batch)
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
            set_batches_logged(trainer)
            self._resumed = False


def _data_of(trainer: Trainer) -> ImageDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ImageDataModule) else None
