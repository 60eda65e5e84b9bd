from __future__ import annotations

from typing import Any

import pytest

from patchlight.errors import ConfigError
from patchlight.runs.length import check_evaluation, check_lengths


def check(**settings: Any) -> None:
    """A training of 20 images, two at a time, on one rank."""
    of_model = {key: settings.pop(key) for key in ("accumulate", "d_steps_per_g_step") if key in settings}
    ranks = settings.pop("ranks", 1)
    check_lengths(
        {"max_epochs": 3, "max_steps": -1, "check_val_every_n_epoch": 1, **settings},
        of_model,
        images=20,
        batch_size=2,
        ranks=ranks,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit_train_batches": 0.0001}, "limit_train_batches=0.0001 leaves nothing to train on: .* has 10 batches"),
        ({"limit_train_batches": 0.09}, "trainer.limit_train_batches=0.09 leaves nothing to train on"),
        ({"overfit_batches": 0.01}, "trainer.overfit_batches=0.01 leaves nothing to train on: an epoch has 10 batches"),
        ({"val_check_interval": 11}, "trainer.val_check_interval=11 is beyond .* has 10 batches; give at most 10"),
        (
            {"val_check_interval": 4, "limit_train_batches": 3},
            "val_check_interval=4 is .* 10 batches, of which trainer.limit_train_batches=3 takes 3; give at most 3",
        ),
        ({"val_check_interval": 6, "ranks": 2}, "trainer.val_check_interval=6 is beyond .* has 5 batches"),
        ({"accumulate": 11}, "model.accumulate=11 is more than an epoch: an epoch has 10 batches; give at most 10"),
        ({"d_steps_per_g_step": 31}, "d_steps_per_g_step=31 leaves .* without a step: the training has 30 batches"),
        ({"d_steps_per_g_step": 3, "max_steps": 2}, "model.d_steps_per_g_step=3 leaves .* the training has 2 batches"),
    ],
)  # fmt: skip
def test_lengths_that_leave_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"limit_train_batches": 0.1}, {"limit_train_batches": 1}, {"limit_train_batches": 100},
        {"val_check_interval": 10}, {"val_check_interval": 0.01}, {"val_check_interval": "00:01:00:00"},
        {"val_check_interval": 11, "check_val_every_n_epoch": None}, {"accumulate": 10}, {"d_steps_per_g_step": 30},
        {"d_steps_per_g_step": 31, "max_epochs": -1}, {"overfit_batches": 0.0},
    ],
)  # fmt: skip
def test_lengths_that_can_be_trained(settings: dict[str, Any]) -> None:
    check(**settings)


def test_a_rank_without_an_image_to_measure() -> None:
    with pytest.raises(ConfigError, match="data.val_size: to validate on, 1 image does not give each of 2 ranks one"):
        check_evaluation({}, "val", 1, 2)
    with pytest.raises(ConfigError, match=r"to test on, 2 images do not .* or trainer\.limit_test_batches=0"):
        check_evaluation({"limit_val_batches": 0}, "test", 2, 3)
    for trainer, images in (({}, 0), ({}, 2), ({"limit_val_batches": 0}, 1)):
        check_evaluation(trainer, "val", images, 2)
