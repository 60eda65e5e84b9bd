"""The state of a run in its checkpoints: its configuration, and its position to the batch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from patchlight.checkpoint import RECORD_KEY, make_record
from patchlight.data.contract import Resumable, TrainingData
from patchlight.loggers import MetricsCSV, wandb_id
from patchlight.system.console import say
from patchlight.system.lightning_internals import LoopPosition, is_first, set_batch, set_batches_logged


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
        size = _batch_size(trainer)
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
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, Resumable) and position["batch"]:
            # Nobody knows how to leave out the images of this epoch that were trained on.
            LoopPosition(position["epoch"], batch=0, total=checkpoint["global_step"]).store(checkpoint)
            if data is not None and is_first():
                say(
                    f"{type(data).__name__} has no begin_at(epoch, images), so epoch {position['epoch']} begins anew: "
                    f"its images are seen again, and results are not those of a run that was never stopped",
                    error=True,
                )
        elif isinstance(data, Resumable):
            data.begin_at(position["epoch"], position["images"])
            # Of this run's batches, which may be of another size.
            before = position["images"] // max(position["batch"] * position["ranks"], 1)
            size = data.batch_sizes["train"] if isinstance(data, TrainingData) else max(before, 1)
            batch = position["images"] // (size * trainer.world_size)
            set_batch(checkpoint, batch)
            same = batch == position["batch"] and position["ranks"] == trainer.world_size
            if not same and is_first():
                say(
                    f"the checkpoint was of {position['ranks']} rank(s) and other batches than this run with "
                    f"{trainer.world_size}: it goes on from the same image, but not to the same bits",
                    error=True,
                )
        self._resumed = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._resumed:
            set_batches_logged(trainer)
            self._resumed = False


def _batch_size(trainer: Trainer) -> int:
    """The images of a rank's batch in training."""
    data, loader = getattr(trainer, "datamodule", None), trainer.train_dataloader
    if isinstance(data, TrainingData):
        return data.batch_sizes["train"]
    return (loader.batch_size or 1) if isinstance(loader, DataLoader) else 1
