"""Learning-rate schedules, stepped once at the end of every epoch.

All take the same two lengths, in epochs: `n_epochs` at first and `n_epochs_decay` after that; a run lasts for their sum
unless `trainer.max_epochs` says otherwise.
"""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, ReduceLROnPlateau, StepLR


def linear(optimizer: Optimizer, n_epochs: int = 100, n_epochs_decay: int = 100) -> LRScheduler:
    """Constant for `n_epochs`, then down in equal steps that would reach 0 one epoch after the last.

    lr(e) = lr(0) (1 - max(0, e + 1 - n_epochs) / (n_epochs_decay + 1)) for e = 0, 1, ...

    Source: Zhu et al. 2017, section 4, "Training details".
    """
    _require_lengths(n_epochs, n_epochs_decay)

    def multiplier(epoch: int) -> float:
        return 1.0 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)

    return LambdaLR(optimizer, multiplier)


def step(
    optimizer: Optimizer, n_epochs: int = 100, n_epochs_decay: int = 100, step_size: int = 50, gamma: float = 0.1
) -> LRScheduler:
    """Multiplied by `gamma` every `step_size` epochs."""
    _require_lengths(n_epochs, n_epochs_decay)
    return StepLR(optimizer, step_size=step_size, gamma=gamma)


def cosine(optimizer: Optimizer, n_epochs: int = 100, n_epochs_decay: int = 100) -> LRScheduler:
    """Half a cosine, from the full rate at the first epoch to 0 after `n_epochs`; after that it rises again.

    Source: Loshchilov and Hutter 2017, "SGDR", equation 5 without its restarts.
    """
    _require_lengths(n_epochs, n_epochs_decay)
    return CosineAnnealingLR(optimizer, T_max=n_epochs, eta_min=0.0)


def constant(optimizer: Optimizer, n_epochs: int = 100, n_epochs_decay: int = 100) -> LRScheduler:
    """The same rate throughout."""
    _require_lengths(n_epochs, n_epochs_decay)
    return LambdaLR(optimizer, lambda epoch: 1.0)


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
        n_epochs: int = 100,
        n_epochs_decay: int = 100,
        factor: float = 0.2,
        threshold: float = 0.01,
        patience: int = 5,
    ) -> None:
        _require_lengths(n_epochs, n_epochs_decay)
        super().__init__(optimizer, mode=mode, factor=factor, threshold=threshold, patience=patience)
        self.monitor = monitor


def _require_lengths(n_epochs: int, n_epochs_decay: int) -> None:
    if n_epochs < 0 or n_epochs_decay < 0 or n_epochs + n_epochs_decay < 1:
        raise ValueError(
            f"n_epochs and n_epochs_decay must not be negative and must add up to at least one epoch, "
            f"got {n_epochs} and {n_epochs_decay}"
        )
