"""A training against several discriminators, with a generator of many options, and what other commands make of it."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from patchlight import load
from patchlight.cli.translate import main as translate

COMMAND = (
    "model=cyclegan", "model/generator=resnet_9_quarter", "model.generator.n_blocks=2", "model.generator.ngf=4",
    "model.generator.attention=true", "model/discriminator=several", "model.discriminator.discriminators.fine.ndf=4",
    "model.discriminator.discriminators.coarse.ndf=4", "model.discriminator.discriminators.coarse.n_layers=2",
    "model.discriminator.weights.coarse=0.5", "data=unpaired", "data.image_size=32", "data.load_size=36",
    "data.num_workers=0", "data.val_size=2", "logger=csv", "trainer=cpu", "trainer.log_every_n_steps=1",
    "callbacks=ema", "callbacks.patch_maps.n_images=1", "callbacks.patch_maps.n_scored=1", "hydra.run.dir=run",
    "perf.gradient_checkpointing=true",
)  # fmt: skip


# Slow: a training, its going on, and a translation with heat maps.
def test_train_resume_and_translate(
    patchlight_train: Any, tiny_sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*COMMAND, f"data.root={tiny_sets('unpaired')}")
    outcome = patchlight_train(*command, "trainer.max_steps=2")
    assert outcome.status == 0, outcome.err
    assert re.search(r"^discriminator_a_scale1 .* 16 x 16 px +14 x 14$", outcome.out, re.MULTILINE)
    assert re.search(r"^discriminator_b_scale2 +34 x 34 px +6 x 6$", outcome.out, re.MULTILINE)
    run = tmp_path / "run"
    manifest = json.loads((run / "manifest.json").read_text())["discriminators"]
    assert [manifest[name]["receptive_field"] for name in manifest] == [16, 34, 16, 34]
    latest = {path.name for path in (run / "samples" / "latest").iterdir()}
    assert {
        f"00_discriminator_{x}_scale{n}_{kind}.png" for x in "ab" for n in "12" for kind in ("real", "fake")
    } < latest
    with (run / "metrics.csv").open() as file:
        first = next(row for row in csv.DictReader(file) if row["train/d_a"])
    assert float(first["train/d_total"]) == pytest.approx(float(first["train/d_a"]) + float(first["train/d_b"]))
    assert {"health/d_acc_scale1_a", "health/d_acc_scale2_b"} < first.keys()

    outcome = patchlight_train(*command, "trainer.max_steps=3", "resume=auto")
    assert outcome.status == 0, outcome.err
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == 3
    gate = checkpoint["state_dict"]["generator_ab.layers.6.gate"]
    assert gate.abs().item() > 0

    Image.new("RGB", (90, 70), (200, 90, 30)).save(tmp_path / "photo.png")
    words = [f"ckpt={last}", "input=photo.png", "output=out", "device=cpu", "patchmap=true"]
    monkeypatch.setattr(sys, "argv", ["patchlight-translate", *words])
    translate()
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["photo.png", "photo_patchmap_scale1.png", "photo_patchmap_scale2.png"]

    translator = load(last, device="cpu", tile=None)
    image = torch.rand(1, 3, 400, 404, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert translator(image).shape == image.shape


def test_a_member_whose_map_would_be_empty(patchlight_train: Any, tiny_sets: Any) -> None:
    outcome = patchlight_train(
        *COMMAND, f"data.root={tiny_sets('unpaired')}", "model.discriminator.discriminators.coarse.n_layers=4"
    )
    assert outcome.status == 1
    assert (
        "model.discriminator.discriminators.coarse leaves an empty patch map for data.image_size=32: its receptive "
        "field is 142 px and it needs images of at least 48 px" in outcome.err
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.discriminator.weights.coarse=0", "model.discriminator.weights.coarse=0 should be greater than 0"),
        ("model.discriminator.weights.other=1", "model.discriminator.weights.other is of no discriminator"),
        ("model.discriminator.discriminators.fine.ndfs=1", "did you mean"),
        ("model.discriminator.discriminators.third={ndf:1}", "should be a group of keys with a _target_"),
        ("~model.discriminator.discriminators.fine", "model.discriminator.weights.fine is of no discriminator"),
    ],
)
def test_mistakes_are_one_message(override: str, message: str, patchlight_train: Any, tiny_sets: Any) -> None:
    outcome = patchlight_train(*COMMAND, f"data.root={tiny_sets('unpaired')}", override)
    assert outcome.status == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_other_kinds_and_more_of_them(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    """A member is chosen as a single discriminator is, or described under a name of its own."""
    outcome = patchlight_train(
        *COMMAND, f"data.root={tiny_sets('unpaired')}", "trainer.max_steps=1", "callbacks.patch_maps=null",
        "model/discriminator@model.discriminator.discriminators.coarse=patch34",
        "model.discriminator.discriminators.third={_target_:patchlight.networks.PixelDiscriminator,ndf:4,norm:none}",
        "model.discriminator.weights.third=2",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert re.search(r"^discriminator_a_scale3 +1 x 1 px ", outcome.out, re.MULTILINE)
    config = OmegaConf.load(tmp_path / "run" / "config.yaml").model.discriminator
    assert dict(config.weights) == {"fine": 1.0, "coarse": 0.5, "third": 2}
    assert config.discriminators.coarse.norm == "instance"  # as a CycleGAN has it
