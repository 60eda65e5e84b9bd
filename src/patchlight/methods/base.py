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
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from patchlight.methods.inference import InferenceMode
from patchlight.methods.schedules import Plateau, linear
from patchlight.networks import Discriminator, Generator

Batch = Mapping[str, Any]
"""`A`, `B`: floating point, B C H W, in [-1, 1]; `A_path`, `B_path`: lists of file names."""

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
    """

    roles: ClassVar[Mapping[str, Role]]
    references: ClassVar[Mapping[str, str]]
    """Which generated image should equal which real one, by the names that `translate` gives them."""
    gallery: ClassVar[Sequence[Sequence[tuple[str, str]]]]
    """The images of a sample picture with their titles: a block of columns for each direction."""

    def __init__(
        self, *, optimizer: OptimizerFactory | None, schedule: ScheduleFactory | None, inference_mode: InferenceMode
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.optimizer_factory = optimizer or default_optimizer
        self.schedule_factory = schedule or linear
        self.inference_mode = inference_mode
        self.images_seen = 0

    @property
    @abstractmethod
    def generators(self) -> tuple[Generator, ...]:
        """The networks that the first optimizer moves."""

    @property
    @abstractmethod
    def discriminators(self) -> tuple[Discriminator, ...]:
        """The networks that the second optimizer moves."""

    @abstractmethod
    def optimise(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step of every optimizer and return the loss terms, before their weights, by name."""

    @abstractmethod
    def translate(self, batch: Batch, noise_seed: int = 0) -> dict[str, Tensor]:
        """The images of a batch, real and generated, by name: `real_A`, `fake_B` and so on, B C H W in [-1, 1]."""

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizers = [
            self.optimizer_factory([p for network in networks for p in network.parameters()])
            for networks in (self.generators, self.discriminators)
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
        terms = self.optimise(batch)
        self._count(batch)
        batch_size = len(batch["A"])
        losses = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict(losses, prog_bar=True, batch_size=batch_size)
        self.log("images_seen", float(self.images_seen), batch_size=batch_size)

    def minimise(self, loss: Tensor, optimizer: LightningOptimizer) -> None:
        """One step of one optimizer down the gradient of the loss."""
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        self.apply_gradients(optimizer)

    def apply_gradients(self, optimizer: LightningOptimizer) -> None:
        """Step an optimizer through the strategy, as `LightningOptimizer.step` does, but past Lightning's counter.

        The counter would count the steps of every optimizer; see `_count`.
        """
        self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_no_closure, model=self)

    def _count(self, batch: Batch) -> None:
        """One batch is one step, however many optimizers there are: `global_step` counts batches."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self.images_seen += len(batch["A"]) * self.trainer.world_size

    def on_train_epoch_start(self) -> None:
        for name, optimizer in zip(("g", "d"), self.gan_optimizers(), strict=True):
            self.log(f"lr/{name}", optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self) -> None:
        schedulers = self.lr_schedulers()
        assert isinstance(schedulers, list)
        for scheduler in schedulers:
            if isinstance(scheduler, Plateau):
                scheduler.step(self._monitored(scheduler.monitor))
            else:
                assert isinstance(scheduler, LRScheduler)
                scheduler.step()

    def _monitored(self, name: str) -> float:
        metrics = self.trainer.callback_metrics
        if name not in metrics:
            raise ValueError(
                f"model.schedule.monitor={name} is not a metric of this run; there are: {', '.join(sorted(metrics))}"
            )
        return float(metrics[name])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.translate(batch, noise_seed=batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.translate(batch, noise_seed=batch_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["images_seen"] = self.images_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.images_seen = checkpoint["images_seen"]


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


def _no_closure() -> None:
    """The optimizers are called with their gradients ready."""
