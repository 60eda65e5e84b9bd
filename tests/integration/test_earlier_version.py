"""Checkpoints that an earlier version of this package wrote after 3 batches, and the figures of a run that went on.

The earlier version rounded the weights of a run in float64 to float32 when it resumed one, and went on to figures up
to 2e-8 away. These are the figures of a run that was never stopped.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

import patchlight

FOLDER = Path(__file__).resolve().parents[1] / "earlier_version"

COMMON = (
    "data.image_size=16", "data.load_size=18", "data.num_workers=0", "data.val_size=2", "data.render.n_train=6",
    "data.render.n_test=2", "data.render.size=64", "paths.data_dir=data", "logger=csv", "trainer=cpu",
    "callbacks=ema", "callbacks.patch_maps=null", "callbacks.samples=null", "trainer.precision=64-true",
    "trainer.log_every_n_steps=1", "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=1", "seed=0",
    "model.discriminator.ndf=2", "model.discriminator.n_layers=1", "model.generator.ngf=2", "hydra.run.dir=run",
)  # fmt: skip

OWN = {
    "pix2pix": ("data=synthetic", "model/generator=unet_128", "model.generator.num_downs=3"),
    "cyclegan": (
        "model=cyclegan", "data=synthetic_unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1",
        "model.pool_size=4",
    ),
}  # fmt: skip


def figures(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, without empty cells."""
    with path.open(newline="") as file:
        return [{key: float(text) for key, text in row.items() if text} for row in csv.DictReader(file)]


@pytest.mark.parametrize("model", OWN)
def test_it_is_resumed_to_the_same_figures(patchlight_train: Any, model: str, tmp_path: Path) -> None:
    """In double precision: losses to 1e-9, metrics (computed in single precision) to 1e-5."""
    ckpt = FOLDER / f"{model}.ckpt"
    done = patchlight_train(*OWN[model], *COMMON, "trainer.max_steps=6", f"resume={ckpt}")
    assert done.status == 0, done.err
    expected, found = figures(FOLDER / f"{model}.csv"), figures(tmp_path / "run/metrics.csv")
    assert len(found) == len(expected)
    for row, row_before in zip(found, expected, strict=True):
        for key, value in row_before.items():
            rel = 1e-9 if key.startswith("train/") else 1e-5
            assert row[key] == pytest.approx(value, rel=rel, abs=1e-12), key


@pytest.mark.parametrize("model", OWN)
def test_it_translates(model: str) -> None:
    translator = patchlight.load(FOLDER / f"{model}.ckpt", device="cpu")
    image = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    output = translator(image)
    assert output.shape == (1, 3, 16, 16)
    assert output.double().mean().item() == pytest.approx(
        {"pix2pix": 0.003441475, "cyclegan": -0.067802801}[model], rel=1e-4
    )
