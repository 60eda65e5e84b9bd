"""A learning-rate schedule: from a small rate up in equal steps, then half a cosine down to 0."""

from __future__ import annotations

import math

from pydantic import NonNegativeInt, PositiveInt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from patchlight.methods.schedules import EpochSchedule


def warm_up(
    optimizer: Optimizer, n_warm_up: PositiveInt = 5, n_epochs: PositiveInt = 100, n_epochs_decay: NonNegativeInt = 0
) -> LRScheduler:
    """Up for `n_warm_up` epochs of the run's `n_epochs + n_epochs_decay`, and down in the others.

    lr(e) = lr(0) min((e + 1) / n_warm_up, (1 + cos(pi max(0, e - n_warm_up) / n_decay)) / 2) for e = 0, 1, ...
    """
    end = n_epochs + n_epochs_decay
    n_decay = max(1, end - n_warm_up)

    def multiplier(epoch: int) -> float:
        done = min(max(0, epoch - n_warm_up), n_decay)
        return min((epoch + 1) / n_warm_up, (1 + math.cos(math.pi * done / n_decay)) / 2)

    return EpochSchedule(optimizer, multiplier, end=end)
