"""Which figures a run will have, before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from patchlight.build import build_callbacks, build_method, data_channels
from patchlight.config.compose import compose_config
from patchlight.errors import ConfigError
from patchlight.runs.evaluation import Evaluation


def evaluation(*overrides: str, images: int = 2, references: bool = True) -> Evaluation:
    small = ("model.generator.ngf=2", "model.discriminator.ndf=2", "callbacks.health=null", "logger=csv")
    cfg = compose_config("train", [*small, "paths.run_dir=nowhere", "paths.data_dir=nowhere", *overrides])
    method = build_method(cfg.model, data_channels(cfg.data))
    if not references:
        method.references = {}  # type: ignore[misc]
    counts = {"A": images, "B": images}
    data: Any = SimpleNamespace(
        val_paths=["x"] * images,
        test_paths=["x"],
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
    assert found.leave_out_best() == [f"no best.ckpt: val/l1, which would choose it, is not measured: {reason}"]
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
        evaluation(follows, *overrides, **state).leave_out_best()


def test_figures_of_ones_own_may_choose_it() -> None:
    """They are known once they are logged."""
    found = evaluation("callbacks.best.monitor=val/own", references=False)
    assert found.leave_out_best() == []
    assert found.best is found.callbacks["best"]
    found = evaluation("trainer.limit_test_batches=0.0")
    assert found.leave_out_best() == []
    assert found.stages == ["val"]
