"""Runs with the settings of the `perf` group: the same training, and checkpoints that change places."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SMALL = (
    "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4", "model.generator.norm=instance",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "model.discriminator.norm=instance",
    "model.generator.dropout=false", "data.image_size=32", "data.load_size=36", "data.num_workers=0", "logger=csv",
    "trainer=cpu", "data.val_size=0", "data.max_eval=1", "data=paired", "model.schedule.n_epochs=1",
    "model.schedule.n_epochs_decay=0", "model/optimizer=sgd", "model.optimizer.lr=0.01", "callbacks.patch_maps=null",
)  # fmt: skip


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def assert_close(run: Path, other: Path, rtol: float) -> None:
    one, two = weights(run), weights(other)
    assert list(one) == list(two)
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=rtol, atol=rtol / 100, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("setting", ["perf.channels_last=true", "perf.gradient_checkpointing=true"])
def test_the_training_is_the_same(
    setting: str, finished: Callable[..., Path], tiny_sets: Callable[[str], Path]
) -> None:
    common = (*SMALL, f"data.root={tiny_sets('paired')}", "trainer.precision=64-true", "trainer.max_steps=5")
    assert_close(finished(*common), finished(*common, setting), rtol=1e-7)


def test_bfloat16_is_close(patchlight_train: Any, tiny_sets: Callable[[str], Path], tmp_path: Path) -> None:
    common = (*SMALL, f"data.root={tiny_sets('paired')}", "trainer.max_steps=3")
    figures = []
    for precision in ("32-true", "bf16-mixed"):
        assert patchlight_train(*common, f"trainer.precision={precision}", f"hydra.run.dir={precision}").status == 0
        metrics = json.loads((tmp_path / precision / "metrics.json").read_text())
        assert metrics["protocol"]["precision"] == precision
        figures.append(metrics["last"]["l1"])
    assert figures[1] == pytest.approx(figures[0], rel=2e-3)
    assert {value.dtype for value in weights(tmp_path / "bf16-mixed").values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the compiler hides from users
def test_checkpoints_with_and_without_compiling_change_places(
    patchlight_train: Any, tiny_sets: Callable[[str], Path], tmp_path: Path
) -> None:
    common = (*SMALL, f"data.root={tiny_sets('paired')}", "resume=auto", "trainer.precision=64-true")
    for steps, first, second in ((2, "true", "false"), (4, "false", "true")):
        for run, setting in (("compiled first", first), ("plain first", second)):
            outcome = patchlight_train(
                *common, f"perf.compile={setting}", f"trainer.max_steps={steps}", f"hydra.run.dir='{run}'"
            )
            assert outcome.status == 0, outcome.err
        assert_close(tmp_path / "plain first", tmp_path / "compiled first", rtol=1e-7)
