"""Which figures a run will have, before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import Callback

from patchlight.build import build_callbacks, build_method, data_channels
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError
from patchlight.runs.evaluation import Evaluation
from patchlight.runs.monitors import check_monitors


def evaluation(*overrides: str, images: int = 2, references: bool = True) -> Evaluation:
    small = ("model.generator.ngf=2", "model.discriminator.ndf=2", "callbacks.health=null", "logger=csv")
    cfg = compose_config("train", [*small, "paths.run_dir=nowhere", "paths.data_dir=nowhere", *overrides])
    method = build_method(cfg.model, data_channels(cfg.data))
    if not references:
        method.references = {}  # type: ignore[misc]
    counts = {"A": images, "B": images}
    data: Any = SimpleNamespace(
        of_one_size=True,
        describe=lambda: {"images": {"val": counts, "test": {"A": 1, "B": 1}}},
    )
    return Evaluation(cfg, method, data, build_callbacks(cfg))


REASONS = [
    ({"images": 0}, (), "there are no images for validation"),
    ({}, ("trainer.limit_val_batches=0",), "trainer.limit_val_batches=0 leaves validation out"),
    ({}, ("callbacks.quality=null",), "there is no callbacks.quality"),
    ({"references": False}, (), "Pix2Pix has no references"),
]


@pytest.mark.parametrize(("state", "overrides", "reason"), REASONS)
def test_best_needs_a_figure(state: dict[str, Any], overrides: tuple[str, ...], reason: str) -> None:
    found = evaluation(*overrides, **state)
    assert check_monitors(found) == ([], [f"no best.ckpt: val/l1, which would choose it, is not measured: {reason}"])
    assert found.best is None
    assert found.left_out == [found.callbacks["best"]]


@pytest.mark.parametrize(("state", "overrides", "reason"), REASONS)
@pytest.mark.parametrize(
    ("follows", "key"),
    [("callbacks=early_stopping", "callbacks.early_stopping"), ("model/schedule=plateau", "model.schedule")],
)
def test_what_follows_a_figure_needs_it(
    follows: str, key: str, state: dict[str, Any], overrides: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}\.monitor=val/l1 is not measured: {reason}"):
        check_monitors(evaluation(follows, *overrides, **state))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("callbacks.best.monitor=val/own",),
            "callbacks.best.monitor=val/own is no figure .* there are val/l1, val/psnr",
        ),
        (("callbacks.best.monitor=psnr",), "callbacks.best.monitor=psnr is no figure .*: did you mean val/psnr?"),
        (("callbacks.best.monitor=val/psnr",), "callbacks.best.monitor=val/psnr is better the higher it is: give "),
        (("callbacks.best.mode=max",), "monitor=val/l1 is better the lower it is: give callbacks.best.mode=min"),
        (
            ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/own"),
            "callbacks.early_stopping.monitor=val/o",
        ),
        (("model/schedule=plateau", "model.schedule.monitor=val/ssim"), "give model.schedule.mode=max"),
    ],
)
def test_what_is_followed_is_a_figure_in_its_direction(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_monitors(evaluation(*overrides))


class Own(Callback):
    """As a user's module has it."""


def test_a_callback_of_ones_own_may_log_what_is_followed() -> None:
    """It is known once it is logged."""
    found = evaluation("callbacks.best.monitor=val/own", references=False)
    found.callbacks["own"] = Own()
    (unsure,), notes = check_monitors(found)
    assert (unsure.key, unsure.figure, notes) == ("callbacks.best", "val/own", [])
    assert found.best is found.callbacks["best"]


def test_figures_of_training_are_known_later() -> None:
    found = evaluation("callbacks=early_stopping", "callbacks.early_stopping.monitor=train/g_l1")
    assert [str(monitor) for monitor in check_monitors(found)[0]] == ["callbacks.early_stopping.monitor=train/g_l1"]


def test_without_a_test_there_are_figures_of_validation() -> None:
    found = evaluation("trainer.limit_test_batches=0.0")
    assert check_monitors(found) == ([], [])
    assert found.stages == ["val"]
