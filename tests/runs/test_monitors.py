from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from patchlight.build import build_method, data_channels
from patchlight.callbacks import Quality
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.runs.monitors import Monitor, RequireFigures, check_objective
from patchlight.sweeps.search import score


def method(model: str) -> TranslationMethod:
    small = ("model.generator.ngf=2", "model.discriminator.ndf=2")
    cfg = compose_config("train", [f"model={model}", *small])
    return build_method(cfg.model, data_channels(cfg.data))


def test_figures_that_a_run_has() -> None:
    for name in (None, "val/l1", "test/psnr"):
        check_objective(name, Quality(), method("pix2pix"))
    check_objective("val/rec_A/ssim", Quality(), method("cyclegan"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("val/rec_A/l1", "objective=val/rec_A/l1 is no figure of this run: .*there are val/l1, val/psnr, val/ssim"),
        ("train/g_l1", "objective=train/g_l1 is no figure"),
        ("test/l1", "objective=test/l1 needs images of the test split, and the run looks at none"),
        ("val/lpips", "objective=val/lpips is no figure"),
    ],
)
def test_figures_that_it_has_not(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_objective(name, Quality(), method("pix2pix"), stages=["val"])


def test_no_figures_without_their_callback() -> None:
    with pytest.raises(ConfigError, match="objective=val/l1 is a figure of callbacks.quality"):
        check_objective("val/l1", None, method("pix2pix"))


def test_what_a_sweeper_is_told() -> None:
    assert score(0.5, "minimize") == 0.5
    assert score(math.nan, "minimize") == score(None, "minimize") == math.inf
    assert score(math.nan, "maximize") == score(None, "maximize") == -math.inf


def test_figures_of_training_are_required_after_the_first_step_of_both_sides() -> None:
    trainer: Any = SimpleNamespace(callback_metrics={"train/d_real": 1.0})
    trained = method("pix2pix")
    trained.d_steps_per_g_step = 2
    known = [
        Monitor("model.schedule", "train/g_l1", "min"),
        Monitor("callbacks.late", "train/d_r1", "min", late=True),
        Monitor("callbacks.stop", "health/d_ac", "max"),
    ]
    watch = RequireFigures([*known, Monitor("callbacks.best", "val/own", "min")])
    watch.on_train_start(trainer, trained)
    trained.d_steps = 1
    watch.on_train_batch_end(trainer, trained)  # the generator has not moved yet
    trained.d_steps = 2
    trainer.callback_metrics |= {"train/g_l1": 1.0}
    watch.on_train_batch_end(trainer, trained)
    assert watch.early == known[2:]  # which nothing has been logged of
    trainer.callback_metrics |= {"health/d_acc": 1.0}
    message = "callbacks.stop.monitor=health/d_ac is no figure .*did you mean health/d_acc\\? there are health/d_acc, "
    with pytest.raises(ConfigError, match=message):
        watch.on_train_batch_end(trainer, trained)
    with pytest.raises(ConfigError, match="callbacks.late.monitor=train/d_r1 is no figure"):
        watch.on_train_epoch_end(trainer, trained)
    with pytest.raises(ConfigError, match="model.schedule.monitor=train/g_l is no figure .*did you mean train/g_l1"):
        RequireFigures([Monitor("model.schedule", "train/g_l", "min")]).on_train_batch_end(trainer, trained)
