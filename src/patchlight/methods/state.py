"""The state of a training beside its weights: what the last step left, what each rank has, and both in a checkpoint."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, distributed, nn

from patchlight.methods.guard import FiniteGuard, OnNonFinite
from patchlight.networks import Maps, as_maps

Batch = Mapping[str, Any]
"""`A`, `B`: floating point, B C H W, in [-1, 1]; `A_path`, `B_path`: lists of file names."""


@dataclass
class StepRecord:
    """The last step's images, patch maps and gradient norms, detached and on their device.

    A step that has none of something, such as the gradients of a generator that was not to move, leaves the last. Of
    several accumulated batches it is the last one's.
    """

    images: dict[str, Tensor] = field(default_factory=dict)
    """`real_B`, `fake_B` and so on, B C H W in [-1, 1], as the generators made them in training."""
    logits: dict[str, tuple[Maps, Maps]] = field(default_factory=dict)
    """The patch maps, B 1 h w, of real and fake, by discriminator."""
    gradient_norms: dict[str, Tensor] = field(default_factory=dict)
    """The norm of each network's gradient before clipping, by network."""

    def state_dict(self, *, images: bool) -> dict[str, Any]:
        """What outlasts the step, for a checkpoint; images only where the next batch may make none of its own."""
        return {
            "images": dict(self.images) if images else {},
            "logits": {name: [list(real), list(fake)] for name, (real, fake) in self.logits.items()},
            "gradient_norms": dict(self.gradient_norms),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], device: torch.device) -> StepRecord:
        """What `state_dict` gave, on a device."""
        return cls(
            images={name: image.to(device) for name, image in state["images"].items()},
            logits={
                # Earlier versions knew discriminators with one map, and kept it by itself.
                name: (tuple(x.to(device) for x in as_maps(real)), tuple(x.to(device) for x in as_maps(fake)))
                for name, (real, fake) in state["logits"].items()
            },
            gradient_norms={name: norm.to(device) for name, norm in state["gradient_norms"].items()},
        )


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
        self.g_steps = 0
        self.validated_step = -1
        self.before_backward: Callable[[Sequence[nn.Module]], None] = _nothing_to_do
        """Called before the backward pass after which the gradients of these networks are complete."""
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

    def reset_gradient_sync(self) -> None:
        """Be a method of a single process again."""
        self.before_backward = _nothing_to_do

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
            "g_steps": self.g_steps,
            "validated_step": self.validated_step,
            "skipped_steps": self.guard.skipped,
            "terms": on_cpu(self._terms),
            "metrics": self._restored_metrics | {name: float(value) for name, value in self._metrics().items()},
        }
        checkpoint["ranks"] = gather(on_cpu(self.rank_state()))

    def _metrics(self) -> Mapping[str, Tensor]:
        return self.trainer.callback_metrics if self._trainer is not None else {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self.trainer.precision == "64-true":
            self.double()  # as Lightning does only after loading, which would round the weights to float32
        progress, ranks = checkpoint["progress"], checkpoint["ranks"]
        self.images_seen = checkpoint["images_seen"]
        self.d_steps = progress["d_steps"]
        self.g_steps = progress.get("g_steps", 0)  # of before terms had intervals
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


def _nothing_to_do(networks: Sequence[nn.Module]) -> None:
    """Gradients of a single process are complete by themselves."""


def random_state() -> dict[str, Any]:
    """The state of every global random generator of this process, in types that a checkpoint may hold."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.array(keys)), int(position), int(has_gauss), float(cached)],
        "python": [version, list(numbers), gauss],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put every global random generator into the state that `random_state` gave."""
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy(), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def gather(state: Any) -> list[Any]:
    """The states of all ranks, by rank; called by all of them. A rank other than 0 gets its own only."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [state]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    first = distributed.get_rank() == 0
    states: list[bytes] | None = [b""] * distributed.get_world_size() if first else None
    distributed.gather_object(buffer.getvalue(), states)
    if states is None:
        return [state]
    return [torch.load(io.BytesIO(content), map_location="cpu", weights_only=True) for content in states]


def on_cpu(state: Any) -> Any:
    """The same with every tensor on the CPU, as ranks exchange it and a checkpoint holds it."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {key: on_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [on_cpu(value) for value in state]
    return state


def reconcile(own: Mapping[str, Tensor], state: dict[str, Any], prefix: str) -> None:
    """Make a module's part of a state, under a prefix, hold its `own` keys only: others go, missing ones stay as is."""
    for key in [key for key in state if key.startswith(prefix) and key not in own]:
        del state[key]
    for key, value in own.items():
        state.setdefault(key, value)
