"""Learning-rate schedules, stepped once at the end of every epoch.

All take the same two lengths, in epochs: `n_epochs` at first and `n_epochs_decay` after that; a run lasts for their sum
unless `trainer.max_epochs` says otherwise. A resumed run follows the schedule of its own configuration, so that a
finished run is made longer by giving it longer lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau


class EpochSchedule(LambdaLR):
    """lr(e) = lr(0) multiplier(e) for e = 0, 1, ...: nothing but the number of the epoch decides.

    Of a checkpoint only that number is taken: first rate and formula are those of the configuration. `end` is the epoch
    from which on the rate no longer changes, if there is one.
    """

    def __init__(self, optimizer: Optimizer, multiplier: Callable[[int], float], end: int | None = None) -> None:
        self.end = end
        super().__init__(optimizer, multiplier)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the epoch, and give the optimizer the rate of it."""
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict.get("_step_count", self.last_epoch + 1)
        rates = [base * formula(self.last_epoch) for base, formula in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        for group, base, rate in zip(self.optimizer.param_groups, self.base_lrs, rates, strict=True):
            group["initial_lr"], group["lr"] = base, rate
        self._last_lr = rates


def linear(optimizer: Optimizer, n_epochs: NonNegativeInt = 100, n_epochs_decay: NonNegativeInt = 100) -> LRScheduler:
    """Constant for `n_epochs`, then down in equal steps to 0, which is the rate one epoch after the last and from then.

    lr(e) = lr(0) max(0, 1 - max(0, e + 1 - n_epochs) / (n_epochs_decay + 1)) for e = 0, 1, ...

    Source: Zhu et al. 2017, section 4, "Training details".
    """
    _require_lengths(n_epochs, n_epochs_decay)

    def multiplier(epoch: int) -> float:
        return max(0.0, 1.0 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1))

    return EpochSchedule(optimizer, multiplier, end=n_epochs + n_epochs_decay)


def step(
    optimizer: Optimizer,
    n_epochs: NonNegativeInt = 100,
    n_epochs_decay: NonNegativeInt = 100,
    step_size: PositiveInt = 50,
    gamma: PositiveFloat = 0.1,
) -> LRScheduler:
    """Multiplied by `gamma` every `step_size` epochs."""
    _require_lengths(n_epochs, n_epochs_decay)
    return EpochSchedule(optimizer, lambda epoch: gamma ** (epoch // step_size))


def cosine(optimizer: Optimizer, n_epochs: NonNegativeInt = 100, n_epochs_decay: NonNegativeInt = 100) -> LRScheduler:
    """Half a cosine, from the full rate at the first epoch to 0 after `n_epochs`.

    lr(e) = lr(0) (1 + cos(pi min(e, n_epochs + n_epochs_decay) / n_epochs)) / 2 for e = 0, 1, ...

    In the `n_epochs_decay` epochs after that it rises again, as the reference code's does: `n_epochs_decay=0` leaves
    that out. At their end it stays where it is.

    Source: Loshchilov and Hutter 2017, "SGDR", equation 5 without its restarts.
    """
    _require_lengths(n_epochs, n_epochs_decay)
    if n_epochs == 0:
        raise ValueError("n_epochs must be at least 1 for a cosine, which falls within them")
    end = n_epochs + n_epochs_decay

    def multiplier(epoch: int) -> float:
        return (1.0 + math.cos(math.pi * min(epoch, end) / n_epochs)) / 2

    return EpochSchedule(optimizer, multiplier, end=end)


def constant(optimizer: Optimizer, n_epochs: NonNegativeInt = 100, n_epochs_decay: NonNegativeInt = 100) -> LRScheduler:
    """The same rate throughout."""
    _require_lengths(n_epochs, n_epochs_decay)
    return EpochSchedule(optimizer, lambda epoch: 1.0)


class Plateau(ReduceLROnPlateau):
    """Multiplied by `factor` after `patience` epochs in which the metric named `monitor` got no better.

    An epoch is better if the metric improves by the fraction `threshold`. `monitor` is any metric that is logged by
    the end of the epoch, `val/l1` for example.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        monitor: str,
        mode: Literal["min", "max"] = "min",
        n_epochs: NonNegativeInt = 100,
        n_epochs_decay: NonNegativeInt = 100,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        threshold: NonNegativeFloat = 0.01,
        patience: NonNegativeInt = 5,
    ) -> None:
        _require_lengths(n_epochs, n_epochs_decay)
        super().__init__(optimizer, mode=mode, factor=factor, threshold=threshold, patience=patience)
        self.monitor = monitor

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what has been seen; what it reacts to, and how, is the configuration's."""
        seen = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        super().load_state_dict({name: state_dict[name] for name in seen if name in state_dict})


def beyond_end(schedule: Callable[[Optimizer], LRScheduler], epochs: int) -> str | None:
    """A sentence about those of a run's epochs that lie beyond the end of its schedule; None if there are none."""
    probe = schedule(SGD([torch.zeros((), requires_grad=True)], lr=1.0))
    if not isinstance(probe, EpochSchedule) or probe.end is None or epochs <= probe.end:
        return None
    rate = probe.lr_lambdas[0](probe.end)
    stays = f"stays at {rate:.3g} times model.optimizer.lr" if rate > 0 else "is 0, and nothing is learned"
    return (
        f"the run is longer than the {probe.end} epochs of model.schedule: from epoch {probe.end + 1} on the learning "
        f"rate {stays}; for a longer run set model.schedule.n_epochs and n_epochs_decay in place of trainer.max_epochs"
    )


def _require_lengths(n_epochs: int, n_epochs_decay: int) -> None:
    if n_epochs < 0 or n_epochs_decay < 0 or n_epochs + n_epochs_decay < 1:
        raise ValueError(
            f"n_epochs and n_epochs_decay must not be negative and must add up to at least one epoch, "
            f"got {n_epochs} and {n_epochs_decay}"
        )
