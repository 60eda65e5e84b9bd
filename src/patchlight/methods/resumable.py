"""What a method keeps in a checkpoint beside its weights, so that training goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from patchlight.methods.guard import FiniteGuard, OnNonFinite
from patchlight.methods.observation import StepRecord
from patchlight.methods.optimization import Batch
from patchlight.methods.rank_state import gather, on_cpu, random_state, set_random_state


class Resumable(LightningModule):
    """A LightningModule that knows how far it has come, and puts into a checkpoint what each rank needs to go on.

    `accumulate` batches make one step of the optimizers.

    Raises:
        ValueError: `on_nonfinite` is neither `stop` nor `skip`.
    """

    def __init__(self, on_nonfinite: OnNonFinite, accumulate: int) -> None:
        super().__init__()
        self.accumulate = accumulate
        self.last_step = StepRecord()
        self.guard = FiniteGuard(on_nonfinite)
        self.images_seen = 0
        self.d_steps = 0
        self.validated_step = -1
        self._accumulated: list[Batch] = []
        self._saves_pools = True
        self._terms: dict[str, Tensor] = {}
        self._restored_metrics: dict[str, float] = {}
        self._restored_rank: dict[str, Any] | None = None

    def on_train_start(self) -> None:
        """Random numbers of each rank: its own from the start, or those with which it left off."""
        if self._restored_rank is None:
            self.seed_rank(self.global_rank)
        else:
            self.load_rank_state(self._restored_rank)
            self._restored_rank = None

    def on_train_end(self) -> None:
        """A run whose last values are not finite has not ended well, even where nothing is saved."""
        self.guard.flush()

    def seed_rank(self, rank: int) -> None:
        """Give a rank random streams of its own; rank 0 has those of a single process."""
        if rank > 0:
            torch.manual_seed(torch.initial_seed() + rank)

    def rank_state(self) -> dict[str, Any]:
        """What this rank has of its own, in types that `torch.load(weights_only=True)` accepts."""
        # A batch that waits for others, or is skipped, leaves the images of the step before to be looked at.
        last_step = self.last_step.state_dict(images=self.accumulate > 1 or self.guard.mode == "skip")
        return {"random": random_state(), "held": [dict(batch) for batch in self._accumulated], "last_step": last_step}

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `rank_state` gave."""
        self._accumulated = [move_data_to_device(batch, self.device) for batch in state["held"]]
        if "last_step" in state:  # a checkpoint may be from before it was kept
            self.last_step = StepRecord.from_state_dict(state["last_step"], self.device)
        set_random_state(state["random"])

    @contextmanager
    def without_pools(self) -> Iterator[None]:
        """Within this context checkpoints leave out the image pools, which are large and which only training needs."""
        self._saves_pools = False
        try:
            yield
        finally:
            self._saves_pools = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what an exact continuation needs beside weights, optimizers and schedules; every rank takes part."""
        self.guard.flush()
        checkpoint["images_seen"] = self.images_seen
        checkpoint["progress"] = {
            "d_steps": self.d_steps,
            "validated_step": self.validated_step,
            "skipped_steps": self.guard.skipped,
            "terms": on_cpu(self._terms),
            "metrics": self._restored_metrics | {name: float(value) for name, value in self._metrics().items()},
        }
        checkpoint["ranks"] = gather(on_cpu(self.rank_state()))

    def _metrics(self) -> Mapping[str, Tensor]:
        return self.trainer.callback_metrics if self._trainer is not None else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress, ranks = checkpoint["progress"], checkpoint["ranks"]
        self.images_seen = checkpoint["images_seen"]
        self.d_steps = progress["d_steps"]
        self.validated_step = progress["validated_step"]
        self.guard.skipped = progress["skipped_steps"]
        self._terms = dict(progress["terms"])
        self._restored_metrics = dict(progress["metrics"])
        rank = self.global_rank if self._trainer is not None else 0
        # With more ranks than the checkpoint had, the further ones begin anew.
        self._restored_rank = ranks[rank] if rank < len(ranks) else None

    def monitored(self, name: str) -> float:
        """The newest value of a metric, also one of before a resume."""
        metrics = self._restored_metrics | dict(self.trainer.callback_metrics)
        if name not in metrics:
            raise ValueError(
                f"model.schedule.monitor={name} is not a metric of this run; there are: {', '.join(sorted(metrics))}"
            )
        return float(metrics[name])
