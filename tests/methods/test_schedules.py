"""Learning rates over the epochs of a run, beyond their end, and in a run that was resumed with another length."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from patchlight.methods import schedules

LR = 2e-4


def sgd(lr: float = LR) -> SGD:
    return SGD([torch.zeros((), requires_grad=True)], lr=lr)


def advance(optimizer: SGD, schedule: LRScheduler, epochs: int) -> list[float]:
    """The rates in force from now on, of so many epochs."""
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(1.0) if isinstance(schedule, schedules.Plateau) else schedule.step()
    return rates


CASES = [
    (schedules.linear, {"n_epochs": 3, "n_epochs_decay": 2}, lambda e: max(0.0, 1 - max(0, e - 2) / 3)),
    (schedules.linear, {"n_epochs": 0, "n_epochs_decay": 4}, lambda e: max(0.0, 1 - (e + 1) / 5)),
    (schedules.linear, {"n_epochs": 2, "n_epochs_decay": 0}, lambda e: float(e < 2)),
    (schedules.cosine, {"n_epochs": 4, "n_epochs_decay": 0}, lambda e: (1 + math.cos(math.pi * min(e, 4) / 4)) / 2),
    (schedules.cosine, {"n_epochs": 4, "n_epochs_decay": 2}, lambda e: (1 + math.cos(math.pi * min(e, 6) / 4)) / 2),
    (schedules.step, {"n_epochs": 3, "n_epochs_decay": 0, "step_size": 2, "gamma": 0.5}, lambda e: 0.5 ** (e // 2)),
    (schedules.constant, {"n_epochs": 1, "n_epochs_decay": 1}, lambda e: 1.0),
]


@pytest.mark.parametrize(("make", "settings", "formula"), CASES)
def test_rates_are_those_of_the_formula_also_beyond_the_end(
    make: Callable[..., LRScheduler], settings: dict[str, Any], formula: Callable[[int], float]
) -> None:
    optimizer = sgd()
    rates = advance(optimizer, make(optimizer, **settings), epochs=20)
    assert rates == pytest.approx([LR * formula(e) for e in range(20)], rel=1e-12, abs=1e-18)
    assert min(rates) >= 0


@pytest.mark.parametrize("after", [1, 3, 5, 8])
@pytest.mark.parametrize(
    ("before", "now"),
    [
        (partial(schedules.linear, n_epochs=3, n_epochs_decay=2), partial(schedules.linear, n_epochs=6)),
        (partial(schedules.cosine, n_epochs=5, n_epochs_decay=0), partial(schedules.cosine, n_epochs=9)),
        (partial(schedules.step, step_size=2), partial(schedules.step, step_size=3, gamma=0.5)),
        (partial(schedules.constant, n_epochs=5), partial(schedules.linear, n_epochs=2, n_epochs_decay=9)),
        (partial(schedules.Plateau, monitor="val/l1", patience=1), partial(schedules.cosine, n_epochs=9)),
    ],
)
def test_a_resumed_schedule_is_that_of_the_new_configuration(
    before: Callable[..., LRScheduler], now: Callable[..., LRScheduler], after: int
) -> None:
    """Through a checkpoint's states, in the order in which Lightning loads them; another first rate is taken, too."""
    old = sgd(lr=1.0)
    schedule = before(old)
    advance(old, schedule, after)
    resumed, fresh = sgd(), sgd()
    continued, alone = now(resumed), now(fresh)
    resumed.load_state_dict(old.state_dict())
    continued.load_state_dict(schedule.state_dict())
    advance(fresh, alone, after)
    assert continued.get_last_lr() == alone.get_last_lr()
    assert advance(resumed, continued, 9) == advance(fresh, alone, 9)


def test_a_plateau_keeps_what_it_has_seen_and_takes_the_new_settings() -> None:
    old = sgd()
    before = schedules.Plateau(old, monitor="val/l1", patience=9)
    advance(old, before, 3)  # 1.0, which is no better any more
    new = sgd()
    after = schedules.Plateau(new, monitor="val/psnr", patience=2)
    new.load_state_dict(old.state_dict())
    after.load_state_dict(before.state_dict())
    assert (after.monitor, after.patience, after.best, after.num_bad_epochs) == ("val/psnr", 2, 1.0, 2)
    assert advance(new, after, 2) == [LR, LR * 0.2]


def test_epochs_beyond_the_end_are_explained() -> None:
    linear = partial(schedules.linear, n_epochs=3, n_epochs_decay=2)
    assert schedules.beyond_end(linear, 5) is None
    said = schedules.beyond_end(linear, 6)
    assert said is not None
    assert "longer than the 5 epochs of model.schedule: from epoch 6 on the learning rate is 0, and nothing" in said
    assert "set model.schedule.n_epochs and n_epochs_decay in place of trainer.max_epochs" in said
    cosine = schedules.beyond_end(partial(schedules.cosine, n_epochs=2, n_epochs_decay=1), 9)
    assert cosine is not None
    assert "from epoch 4 on the learning rate stays at 0.5 times model.optimizer.lr" in cosine
    for endless in (schedules.constant, schedules.step, partial(schedules.Plateau, monitor="val/l1")):
        assert schedules.beyond_end(endless, 1000) is None


def test_a_cosine_needs_epochs_in_which_it_falls() -> None:
    with pytest.raises(ValueError, match="n_epochs must be at least 1 for a cosine"):
        schedules.cosine(sgd(), n_epochs=0, n_epochs_decay=5)
