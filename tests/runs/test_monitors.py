from __future__ import annotations

import math

import pytest

from patchlight.build import build_method, data_channels
from patchlight.callbacks import Quality
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError
from patchlight.methods import TranslationMethod
from patchlight.runs.monitors import check_objective
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
