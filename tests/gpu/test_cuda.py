"""What only a CUDA device shows: the same steps as on a processor, without waiting for it, resumed to the same bits."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from PIL import Image
from tiny_methods import SGD, assert_equal, cut, cyclegan, fit, images, pix2pix, pix2pixhd

from killing import differences
from patchlight import load
from patchlight.methods import TranslationMethod
from small_models import write_checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

MAKE = pytest.mark.parametrize("make", [pix2pix, cyclegan, pix2pixhd, cut])

SMALL = {
    "pix2pix": ("model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=8", "data=paired"),
    "cyclegan": ("model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=8", "data=unpaired"),
    "pix2pixhd": ("model.generator.n_downsampling=2", "model.generator.n_blocks=1", "model.generator.ngf=8",
                  "data=paired"),
    "cut": ("model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=8",
            "model.nce_layers=[0,4,8]", "model.num_patches=16", "data=unpaired"),
}  # fmt: skip

COMMON = (
    "model.discriminator.ndf=8", "model.discriminator.n_layers=1", "data.image_size=32", "data.load_size=36",
    "data.num_workers=0", "data.val_size=2", "logger=csv", "trainer=gpu", "model.schedule.n_epochs=2",
    "model.schedule.n_epochs_decay=2", "resume=auto",
)  # fmt: skip

Finished = Callable[..., Path]


def settings(model: str, tiny_sets: Callable[[str], Path]) -> tuple[str, ...]:
    pairing = "unpaired" if "data=unpaired" in SMALL[model] else "paired"
    return (f"model={model}", *SMALL[model], *COMMON, f"data.root={tiny_sets(pairing)}")


def checkpoint(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    return loaded


@MAKE
def test_steps_are_those_of_a_processor(make: Callable[..., TranslationMethod], tmp_path: Path) -> None:
    methods = [make(optimizer=SGD), make(optimizer=SGD)]
    for method, accelerator in zip(methods, ("cpu", "gpu"), strict=True):
        fit(method, tmp_path, images(4), accelerator=accelerator)
        method.cpu()
    assert_equal(*methods, rtol=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("model", list(SMALL))
def test_a_batch_does_not_wait_for_the_device(
    model: str, precision: str, patchlight_train: Any, tiny_sets: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From its reading to the end of the callbacks, between two rows of figures."""
    waited: list[str] = []
    watched_batches: list[int] = []
    advance = _TrainingEpochLoop.advance

    def watched(self: _TrainingEpochLoop, *args: Any) -> None:
        if self.batch_idx not in (2, 3):  # before: memory is taken and algorithms are chosen; after: the epoch ends
            advance(self, *args)
            return
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                advance(self, *args)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        watched_batches.append(self.batch_idx)
        waited.extend(
            f"{each.filename}:{each.lineno}"
            for each in found
            if "called a synchronizing CUDA operation" in str(each.message)
        )

    monkeypatch.setattr(_TrainingEpochLoop, "advance", watched)
    outcome = patchlight_train(
        *settings(model, tiny_sets), f"trainer.precision={precision}", "trainer.max_steps=6", "hydra.run.dir=run"
    )
    assert outcome.status == 0, outcome.err
    assert len(watched_batches) == 2
    assert sorted(set(waited)) == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_goes_on_to_the_same_bits(
    precision: str, patchlight_train: Any, tiny_sets: Callable[[str], Path], tmp_path: Path
) -> None:
    command = (*settings("pix2pix", tiny_sets), f"trainer.precision={precision}", "trainer.deterministic=true")
    for run, stops in {"whole": ("12",), "parts": ("5", "12")}.items():
        for stop in stops:
            outcome = patchlight_train(*command, f"hydra.run.dir={run}", f"trainer.max_steps={stop}")
            assert outcome.status == 0, outcome.err
    assert "going on from last.ckpt, batch 5" in outcome.out
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "ranks", "global_step", "images_seen"):
        assert list(differences(whole[key], parts[key], key)) == []


@pytest.mark.parametrize("model", list(SMALL))
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_sixteen_bits_are_close(
    precision: str, model: str, patchlight_train: Any, tiny_sets: Callable[[str], Path], tmp_path: Path
) -> None:
    terms = {}
    for kind in ("32-true", precision):
        outcome = patchlight_train(
            *settings(model, tiny_sets), f"trainer.precision={kind}", "trainer.max_steps=4",
            "trainer.log_every_n_steps=1", f"hydra.run.dir={kind}",
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        assert json.loads((tmp_path / kind / "metrics.json").read_text())["protocol"]["precision"] == kind
        state = checkpoint(tmp_path / kind)
        assert all(value.isfinite().all() for value in state["state_dict"].values())
        assert {value.dtype for value in state["state_dict"].values() if value.is_floating_point()} == {torch.float32}
        terms[kind] = (tmp_path / kind / "metrics.csv").read_text().splitlines()
    first = [dict(zip(rows[0].split(","), rows[1].split(","), strict=True)) for rows in terms.values()]
    for name in [name for name in first[0] if name.startswith("train/") and first[0][name]]:
        assert float(first[1][name]) == pytest.approx(float(first[0][name]), rel=0.05, abs=0.02), name


def test_images_are_those_of_a_processor(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.ckpt", "pix2pix", perturbed=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    one, two = (np.asarray(load(tmp_path / "model.ckpt", device=device)(image), int) for device in ("cpu", "cuda"))
    assert one.std() > 1
    assert np.abs(one - two).max() <= 1
