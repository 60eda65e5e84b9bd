"""A training on label maps of class indices and instances, and what its checkpoint and samples are good for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from label_sets import write_label_set
from PIL import Image

import patchlight
from commands import Typed
from patchlight.data.labels import class_colours

SMALL = (
    "data=paired", "data.root=set", "data.n_classes=4", "data.image_size=32", "data.load_size=32", "data.num_workers=0",
    "logger=csv", "trainer=cpu", "trainer.max_steps=2", "trainer.max_epochs=2", "model=pix2pixhd",
    "model.generator.ngf=4", "model.generator.n_downsampling=2", "model.generator.n_blocks=1",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=2", "hydra.run.dir=run",
)  # fmt: skip


def test_from_training_to_files(typed: Typed) -> None:
    write_label_set(Path("set"), n=2, side=32, instances=True)
    outcome = typed("train", *SMALL, "data.instances=true", "+data/augment=geometry", "data.batch_size=2")
    assert outcome.status == 0, outcome.err
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["generator.trunk.1.weight"].shape[1] == 4 + 1
    assert checkpoint["state_dict"]["discriminator.scales.0.0.0.weight"].shape[1] == 4 + 1 + 3

    labels = np.asarray(Image.open("set/valA/0.png"))
    shown = np.asarray(Image.open("run/samples/latest/00_real_A.png"))
    white = (shown == 255).all(axis=2)
    assert (shown[~white] == class_colours(4)[labels][~white]).all()
    assert 0 < white.mean() < 1
    maps = sorted(path.name for path in Path("run/samples/latest").glob("00_discriminator_*.png"))
    assert maps == [f"00_discriminator_scale{scale}_{kind}.png" for scale in (1, 2) for kind in ("fake", "real")]

    outcome = typed(
        "translate", "ckpt=run/checkpoints/last.ckpt", "input=set/testA", "output=out", "instances=set/test_instances",
        "device=cpu", "precision=32-true", "patchmap=true",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    numbers = np.asarray(Image.open("set/test_instances/0.png"))
    given = np.dstack([np.asarray(Image.open("set/testA/0.png")), numbers])
    expected = patchlight.load("run/checkpoints/last.ckpt", device="cpu")(given)
    assert np.array_equal(np.asarray(Image.open("out/0.png")), expected)
    assert Path("out/0_patchmap_scale2.png").is_file()

    outcome = typed("evaluate", "ckpt=run/checkpoints/last.ckpt", "output=evaluated", "num_workers=0")
    assert outcome.status == 0, outcome.err
    assert Path("evaluated/samples/00_real_A.png").is_file()


def test_a_method_that_would_make_label_maps_is_refused(typed: Typed) -> None:
    write_label_set(Path("set"), n=2, side=32)
    outcome = typed("train", "model=cyclegan", *(word for word in SMALL if not word.startswith("model")))
    assert outcome.status == 1
    assert "data.n_classes=4: CycleGAN translates into domain A, too, and label maps cannot be made" in outcome.err
    assert not Path("run").exists()


def test_images_too_small_for_the_generator_are_refused(typed: Typed) -> None:
    write_label_set(Path("set"), n=2, side=32)
    outcome = typed("train", *SMALL, "model.generator.n_downsampling=5")
    assert outcome.status == 1
    assert "data.image_size=32 is too small for the generator, which needs at least 64 pixels a side" in outcome.err
