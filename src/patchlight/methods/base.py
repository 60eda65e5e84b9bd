"""What all methods share: manual optimization in which one batch is one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from patchlight.methods.descent import Batch, Loss, descend
from patchlight.methods.guard import FiniteGuard, OnNonFinite, StepSkippedError
from patchlight.methods.inference import InferenceMode
from patchlight.methods.rank_state import gather, on_cpu, random_state, set_random_state
from patchlight.methods.schedules import Plateau, linear
from patchlight.networks import Discriminator, Generator

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]

default_optimizer: OptimizerFactory = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
"""Adam as in Isola et al. 2017, section 3.3."""


@dataclass(frozen=True)
class Role:
    """The part a network plays in a method: which kind it is and which domains it reads and writes."""

    kind: Literal["generator", "discriminator"]
    reads: tuple[Literal["A", "B"], ...]
    writes: Literal["A", "B"] | None = None


class TranslationMethod(LightningModule, ABC):
    """A LightningModule that trains generators against discriminators, one optimisation step per batch.

    A method names its networks in `roles` and takes each as a constructor argument of that name. It holds the step and
    nothing else: metrics, images and files are the callbacks' work.

    `optimizer` is the generators' and, unless `optimizer_d` is given, the discriminators'. `accumulate` batches make
    one step of the optimizers, as one batch of that size would. The generators move in every `d_steps_per_g_step`-th
    step of the discriminators, which begin after `discriminator_start` batches; until then there is no adversarial
    term. `clip_g` and `clip_d` bound the norm of the gradient of each network. `on_nonfinite` is what happens when a
    loss or gradient is not finite: `stop` or `skip`.

    Raises:
        ValueError: a value out of range, by its name.
    """

    roles: ClassVar[Mapping[str, Role]]
    references: ClassVar[Mapping[str, str]]
    """Which generated image should equal which real one, by the names that `translate` gives them."""
    gallery: ClassVar[Sequence[Sequence[tuple[str, str]]]]
    """The images of a sample picture with their titles: a block of columns for each direction."""

    def __init__(
        self,
        *,
        optimizer: OptimizerFactory | None,
        optimizer_d: OptimizerFactory | None,
        schedule: ScheduleFactory | None,
        accumulate: int,
        clip_g: float | None,
        clip_d: float | None,
        d_steps_per_g_step: int,
        discriminator_start: int,
        on_nonfinite: OnNonFinite,
        inference_mode: InferenceMode,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        for name, value, minimum in (
            ("accumulate", accumulate, 1),
            ("d_steps_per_g_step", d_steps_per_g_step, 1),
            ("discriminator_start", discriminator_start, 0),
        ):
            if isinstance(value, bool) or value < minimum:
                raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
        for name, norm in (("clip_g", clip_g), ("clip_d", clip_d)):
            if norm is not None and norm <= 0:
                raise ValueError(f"{name} must be positive, or null for no clipping, got {norm}")
        self.optimizer_factories = (optimizer or default_optimizer, optimizer_d or optimizer or default_optimizer)
        self.schedule_factory = schedule or linear
        self.accumulate = accumulate
        self.clip_g = clip_g
        self.clip_d = clip_d
        self.d_steps_per_g_step = d_steps_per_g_step
        self.discriminator_start = discriminator_start
        self.guard = FiniteGuard(on_nonfinite)
        self.inference_mode = inference_mode
        self.images_seen = 0
        self.d_steps = 0
        self.validated_step = -1
        self.before_backward: Callable[[Sequence[nn.Module]], None] = _nothing_to_do
        """Called before the backward pass after which the gradients of these networks are complete."""
        self._held: list[Batch] = []
        self._terms: dict[str, Tensor] = {}
        self._restored_metrics: dict[str, float] = {}
        self._restored_rank: dict[str, Any] | None = None

    @property
    @abstractmethod
    def generators(self) -> tuple[Generator, ...]:
        """The networks that the first optimizer moves."""

    @property
    @abstractmethod
    def discriminators(self) -> tuple[Discriminator, ...]:
        """The networks that the second optimizer moves."""

    @abstractmethod
    def optimise(self, batches: Sequence[Batch], *, move_g: bool, move_d: bool) -> dict[str, Tensor]:
        """One step of the optimizers over some batches; returns the loss terms, before their weights, by name.

        `move_g` and `move_d` say whose turn it is. Without `move_d` the discriminators have not begun, and there is no
        adversarial term.
        """

    @abstractmethod
    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        """The images of a batch, real and generated, by name: `real_A`, `fake_B` and so on, B C H W in [-1, 1]."""

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizers = [
            factory([p for network in networks for p in network.parameters()])
            for factory, networks in zip(self.optimizer_factories, (self.generators, self.discriminators), strict=True)
        ]
        return optimizers, [self.schedule_factory(optimizer) for optimizer in optimizers]

    def gan_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        """The generators' optimizer and the discriminators', in that order."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        generators, discriminators = optimizers
        assert isinstance(generators, LightningOptimizer)
        assert isinstance(discriminators, LightningOptimizer)
        return generators, discriminators

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self._held.append(batch)
        if len(self._held) == self.accumulate or self.trainer.is_last_batch:
            batches, self._held = self._held, []
            self._take_turns(batches)
        self._count(batch)
        batch_size = len(batch["A"])
        self.log_dict(self._terms, prog_bar=True, batch_size=batch_size)
        self.log("images_seen", float(self.images_seen), batch_size=batch_size)
        if self.guard.mode == "skip":
            self.log("skipped_steps", float(self.guard.skipped), batch_size=batch_size)

    def _take_turns(self, batches: Sequence[Batch]) -> None:
        """Let those networks move whose turn it is, or none if the step is to be skipped."""
        move_d = self.global_step >= self.discriminator_start
        move_g = not move_d or (self.d_steps + 1) % self.d_steps_per_g_step == 0
        buffers = list(self.buffers()) if self.guard.mode == "skip" else []
        kept = [buffer.clone() for buffer in buffers]
        try:
            terms = self.optimise(batches, move_g=move_g, move_d=move_d)
        except StepSkippedError:
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
            return
        self.d_steps += move_d
        # Terms that a step has none of, such as those of a penalty between its intervals, keep their last value.
        self._terms |= {f"train/{name}": value for name, value in self._over_ranks(terms).items()}

    def _over_ranks(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms' means over all ranks, detached."""
        if self.trainer.world_size == 1:
            return {name: value.detach() for name, value in terms.items()}
        stacked = torch.stack([value.detach() for value in terms.values()])
        means = self.trainer.strategy.reduce(stacked, reduce_op="mean")
        assert isinstance(means, Tensor)
        return dict(zip(terms, means.unbind(), strict=True))

    def descend(
        self,
        optimizer: LightningOptimizer,
        networks: Sequence[nn.Module],
        losses: Sequence[Loss],
        batches: Sequence[Batch],
        clip: float | None,
    ) -> list[dict[str, Tensor]]:
        """Step one optimizer down a sum of losses over some batches; returns the terms of each loss.

        Raises:
            TrainingError, StepSkippedError: see `FiniteGuard`.
        """
        paths = [path for batch in batches for key in ("A_path", "B_path") for path in batch.get(key, ())]
        return descend(
            self, optimizer.optimizer, networks, losses, clip=clip, guard=self.guard, paths=list(dict.fromkeys(paths))
        )

    def _count(self, batch: Batch) -> None:
        """One batch is one step, however many optimizers there are: `global_step` counts batches."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self.images_seen += len(batch["A"]) * self.trainer.world_size

    def forget_ranks(self) -> None:
        """Be a method of a single process again."""
        self.before_backward = _nothing_to_do

    def on_train_epoch_start(self) -> None:
        rates = {
            f"lr/{name}": optimizer.param_groups[0]["lr"]
            for name, optimizer in zip(("g", "d"), self.gan_optimizers(), strict=True)
        }
        # Straight to the loggers: what `self.log` takes in here would wait for the end of the epoch in memory, where a
        # run that is resumed within the epoch does not find it.
        for logger in self.loggers:
            logger.log_metrics(rates, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        if not self.trainer.is_last_batch:
            return  # the run ends within the epoch, after max_steps
        schedulers = self.lr_schedulers()
        assert isinstance(schedulers, list)
        for scheduler in schedulers:
            if isinstance(scheduler, Plateau):
                scheduler.step(self._monitored(scheduler.monitor))
            else:
                assert isinstance(scheduler, LRScheduler)
                scheduler.step()

    def _monitored(self, name: str) -> float:
        metrics = self._restored_metrics | dict(self.trainer.callback_metrics)
        if name not in metrics:
            raise ValueError(
                f"model.schedule.monitor={name} is not a metric of this run; there are: {', '.join(sorted(metrics))}"
            )
        return float(metrics[name])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.translate(batch, noise_seed=batch_idx)

    def on_validation_end(self) -> None:
        self.validated_step = self.global_step

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.translate(batch, noise_seed=batch_idx)

    def on_train_start(self) -> None:
        """Random numbers of each rank: its own from the start, or those with which it left off."""
        if self._restored_rank is None:
            self.begin_on_rank(self.global_rank)
        else:
            self.load_rank_state(self._restored_rank)
            self._restored_rank = None

    def begin_on_rank(self, rank: int) -> None:
        """Give a rank random streams of its own; rank 0 has those of a single process."""
        if rank > 0:
            torch.manual_seed(torch.initial_seed() + rank)

    def rank_state(self) -> dict[str, Any]:
        """What this rank has of its own, in types that `torch.load(weights_only=True)` accepts."""
        return {"random": random_state(), "held": [dict(batch) for batch in self._held]}

    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `rank_state` gave."""
        self._held = [move_data_to_device(batch, self.device) for batch in state["held"]]
        set_random_state(state["random"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what an exact continuation needs beside weights, optimizers and schedules; every rank takes part."""
        self.guard.settle()
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


def _nothing_to_do(networks: Sequence[nn.Module]) -> None:
    """Gradients of a single process are complete by themselves."""


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of these networks, while gradients still flow through them."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
