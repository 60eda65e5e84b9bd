"""What all methods share: manual optimization in which one batch is one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from patchlight.methods.guard import OnNonFinite, StepSkippedError
from patchlight.methods.image_pool import ImagePool
from patchlight.methods.inference import InferenceMode
from patchlight.methods.networks import TranslationNetworks, frozen, is_trained
from patchlight.methods.optimization import (
    Gradients,
    Loss,
    Rollback,
    Side,
    Terms,
    compute_gradients,
    require_optimizers,
    step_optimizer,
    update_scale,
)
from patchlight.methods.schedules import Plateau, linear
from patchlight.methods.state import Batch, Resumable
from patchlight.system.lightning_internals import count_batch

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]

default_optimizer: OptimizerFactory = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999), fused=True)
"""Adam as in Isola et al. 2017, section 3.3."""


class TranslationMethod(Resumable, TranslationNetworks, ABC):
    """A LightningModule that trains generators against discriminators, one optimisation step per batch.

    A method describes its networks in the table `networks` and takes each as a constructor argument of that name. It
    holds the step and nothing else: metrics, images and files are the callbacks' work.

    `optimizer` makes the optimizer "g", `optimizer_d` makes "d" and `optimizers` those of other names, as the table has
    them; where one is not given, `optimizer` makes it. `accumulate` batches make one step of the optimizers, as one
    batch of that size would. The generators move in every `d_steps_per_g_step`-th step of the discriminators, which
    begin after `discriminator_start` batches; until then there is no adversarial term. `clip_d` bounds the norm of the
    gradient of each network that "d" moves, `clip_g` that of each other network. `on_nonfinite` is what happens when a
    loss or gradient of either side is not finite: `stop` ends the run, `skip` leaves out the whole step, of all its
    accumulated batches. Nothing is left of it then: networks, optimizers, running statistics, pools, `d_steps`,
    `g_steps` and with them whose turn it is and which penalty or term is due are as before. The batches count as done:
    `global_step`, `images_seen` and schedules go on, random numbers that were drawn stay drawn, and the logged terms
    are those of the step before.

    Raises:
        ValueError: a value out of range, by its name.
    """

    counts_valid_pixels: ClassVar[bool] = False
    """Whether the losses that compare pixels count those alone that a batch's mask `valid` has, where it has one."""

    def __init__(
        self,
        *,
        optimizer: OptimizerFactory | None,
        optimizer_d: OptimizerFactory | None,
        optimizers: Mapping[str, OptimizerFactory] | None,
        schedule: ScheduleFactory | None,
        accumulate: int,
        clip_g: float | None,
        clip_d: float | None,
        d_steps_per_g_step: int,
        discriminator_start: int,
        on_nonfinite: OnNonFinite,
        inference_mode: InferenceMode,
    ) -> None:
        super().__init__(on_nonfinite, accumulate)
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
        others = dict(optimizers or {})
        unknown = others.keys() - (set(self.optimizer_names) - {"g", "d"})
        if unknown:
            raise ValueError(
                f"optimizers.{min(unknown)} moves no network of {type(self).__name__}: the optimizers of its table are "
                f"{', '.join(self.optimizer_names)}, of which g is optimizer and d is optimizer_d"
            )
        given = {**others, "g": optimizer, "d": optimizer_d}
        self.optimizer_factories: dict[str, OptimizerFactory] = {
            name: given.get(name) or optimizer or default_optimizer for name in self.optimizer_names
        }
        self.schedule_factory = schedule or linear
        self.clip_g = clip_g
        self.clip_d = clip_d
        self.d_steps_per_g_step = d_steps_per_g_step
        self.discriminator_start = discriminator_start
        self.inference_mode = inference_mode
        self._rollback: Rollback | None = None

    @abstractmethod
    def optimise(self, batches: Sequence[Batch], *, update_g: bool, update_d: bool) -> Terms:
        """One step of the optimizers over some batches; returns the loss terms, before their weights, by name.

        `update_g` and `update_d` say which side is updated. Without `update_d` the discriminators have not begun, and
        there is no adversarial term. A step is made of `compute_gradients` for each side, and one `step_optimizers` for
        all of them, or several where one side learns from what the other has become.
        """

    @property
    def pools(self) -> Mapping[str, ImagePool]:
        """The image pools by the domain of their images, "a" or "b"."""
        return {}

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizers = [
            self.optimizer_factories[name]([p for network in networks.values() for p in network.parameters()])
            for name, networks in self._moved_networks().items()
        ]
        return optimizers, [self.schedule_factory(optimizer) for optimizer in optimizers]

    def _moved_networks(self) -> dict[str, dict[str, nn.Module]]:
        """The networks that each optimizer moves, by its name; without named ones that have nothing to be trained."""
        moved = {name: self.moved_by(name) for name in self.optimizer_names}
        return {
            name: networks
            for name, networks in moved.items()
            if name in ("g", "d") or any(is_trained(network) for network in networks.values())
        }

    def rank_state(self) -> dict[str, Any]:
        # The state of augmentations and terms may be another on each rank; networks' buffers are those of rank 0.
        buffers = {name: value for name, value in self.named_buffers() if name.partition(".")[0] not in self.networks}
        return {**super().rank_state(), "buffers": buffers}

    @torch.no_grad()
    def load_rank_state(self, state: Mapping[str, Any]) -> None:
        super().load_rank_state(state)
        own = dict(self.named_buffers())
        for name, value in state.get("buffers", {}).items():
            if name in own:
                own[name].copy_(value)

    def on_fit_start(self) -> None:
        self.require_in_table()
        require_optimizers(self, self.trainer.optimizers)

    def sides(self) -> dict[str, Side]:
        """The optimizers by name, each with the networks that it moves."""
        found, sides = self.optimizers(), {}
        moved = self._moved_networks()
        for name, optimizer in zip(moved, found if isinstance(found, list) else [found], strict=True):
            assert isinstance(optimizer, LightningOptimizer)
            networks = {key: network for key, network in moved[name].items() if is_trained(network)}
            clips = dict.fromkeys(networks, self.clip_d if name == "d" else self.clip_g)
            sides[name] = Side((optimizer.optimizer,), networks, clips)
        return sides

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self._accumulated.append(self.with_conditions(batch))
        if len(self._accumulated) == self.accumulate or self.trainer.is_last_batch:
            batches, self._accumulated = self._accumulated, []
            self._optimization_step(batches)
        self._count(batch)
        batch_size = len(batch["A"])
        # Not for Lightning's bar, which would wait for each of them in every batch.
        self.log_dict(self._terms, batch_size=batch_size)
        self.log_dict(self._axes(), batch_size=batch_size)
        if self.guard.mode == "skip":
            self.log("skipped_steps", self._scalar(self.guard.skipped), batch_size=batch_size)

    def _optimization_step(self, batches: Sequence[Batch]) -> None:
        """Let those networks move whose turn it is, or none if the step is to be skipped."""
        update_d = self.global_step >= self.discriminator_start
        update_g = not update_d or (self.d_steps + 1) % self.d_steps_per_g_step == 0
        self._rollback = Rollback(self, self.pools.values()) if self.guard.mode == "skip" else None
        try:
            terms = self.optimise(batches, update_g=update_g, update_d=update_d)
        except StepSkippedError:
            assert self._rollback is not None
            self._rollback.restore()
            update_scale(self)
            return
        finally:
            self._rollback = None
        self.d_steps += update_d
        self.g_steps += update_g
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

    def compute_gradients(self, side: Side, losses: Sequence[Loss]) -> Gradients:
        """The gradients of a sum of losses, left in the networks of one side; others are only passed through."""
        with frozen(*(network for name, network in self.modules_of().items() if name not in side.networks)):
            return compute_gradients(self, side, losses)

    def step_optimizers(self, *gradients: Gradients, batches: Sequence[Batch], last: bool = True) -> None:
        """Look at the terms and gradients of some sides together, then step their optimizers.

        `last` says that no other optimizer moves in this step; what a former one overwrites is kept until then if the
        step may be skipped.

        Raises:
            TrainingError, StepSkippedError: see `FiniteGuard`.
        """
        paths = [path for batch in batches for key in ("A_path", "B_path") for path in batch.get(key, ())]
        watched = {name: value for side in gradients for name, value in side.watched.items()}
        self.guard.watch(watched, step=self.global_step + 1, paths=list(dict.fromkeys(paths)))
        for side in gradients:
            for optimizer in side.side.optimizers:
                if self._rollback is not None and not last:
                    self._rollback.keep(optimizer)
                step_optimizer(self, optimizer)
        if last:
            update_scale(self)

    def _count(self, batch: Batch) -> None:
        """One batch is one step, however many optimizers there are: `global_step` counts batches."""
        count_batch(self.trainer)
        self.images_seen += len(batch["A"]) * self.trainer.world_size

    def on_train_epoch_start(self) -> None:
        rates = {f"lr/{name}": side.optimizers[0].param_groups[0]["lr"] for name, side in self.sides().items()}
        # Straight to the loggers: what `self.log` takes in here would wait for the end of the epoch in memory, where a
        # run that is resumed within the epoch does not find it.
        for logger in self.loggers:
            logger.log_metrics({**rates, "images_seen": float(self.images_seen)}, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        if not self.trainer.is_last_batch:
            return  # the run ends within the epoch, after max_steps
        found = self.lr_schedulers()
        for scheduler in found if isinstance(found, list) else [found]:
            if isinstance(scheduler, Plateau):
                scheduler.step(self.monitored(scheduler.monitor))
            else:
                assert isinstance(scheduler, LRScheduler)
                scheduler.step()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self._axes(), sync_dist=True)

    def _axes(self) -> Terms:
        """What figures are drawn over. Lightning hands `step` to the loggers, which else would count from 0."""
        axes = {"step": self.global_step, "epoch": self.current_epoch, "images_seen": self.images_seen}
        return {name: self._scalar(value) for name, value in axes.items()}

    def _scalar(self, value: float) -> Tensor:
        """A number to be logged, made on the device: Lightning would copy it there, for which a step waits."""
        return torch.full((), float(value), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._outputs(batch, batch_idx)

    def on_validation_end(self) -> None:
        self.validated_step = self.global_step

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._outputs(batch, batch_idx)

    def _outputs(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the callbacks get of a batch: in the usual memory layout, which metrics take for granted."""
        return {name: image.contiguous() for name, image in self.translate(batch, noise_seed=batch_idx).items()}
