"""The run's own description, kept in each of its checkpoints."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from patchlight.checkpoint import RECORD_KEY, make_record


class RunRecord(Callback):
    """Puts the resolved configuration into every checkpoint, so that a model can be rebuilt from it alone."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[RECORD_KEY] = make_record(self.config)
