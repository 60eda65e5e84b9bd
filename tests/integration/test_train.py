"""Runs of `patchlight-train`, from the command line to the files that it leaves."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import OmegaConf
from PIL import Image

from patchlight import load
from patchlight.build import build_method, data_channels
from patchlight.callbacks.clock import read_times
from patchlight.config.compose import config_dir
from patchlight.errors import TrainingError
from patchlight.runs.run import _clear_errors
from patchlight.system.warnings import filter_warnings

PICTURED = (
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=1", "data.image_size=32", "data.load_size=36", "data.num_workers=0", "logger=csv",
    "trainer=cpu", "data.val_size=2", "model.schedule.n_epochs=1", "model.schedule.n_epochs_decay=1",
)  # fmt: skip

SMALL = (*PICTURED, "callbacks.patch_maps=null")
"""Drawing patch maps takes as long as the rest of a small training."""


def the_run(folder: Path, task: str = "train") -> Path:
    (run,) = (folder / "logs" / task / "runs").iterdir()
    return run


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.covered
def test_a_run_leaves_what_it_should(patchlight_train: Any, tiny_sets: Callable[[str], Path], tmp_path: Path) -> None:
    outcome = patchlight_train(
        *PICTURED, "data=paired", f"data.root={tiny_sets('paired')}", "evaluate_untrained=true", "seed=5",
        "trainer.log_every_n_steps=1",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    table = [line.split("  ") for line in outcome.out.splitlines()]
    rows_of = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in table}
    # Convolutions of 4 x 4 from 6 to 4 to 8 to 1 channels, at 16 x 16, 15 x 15 and 14 x 14: 2 x 16 operations each.
    flops = 32 * (16**2 * 6 * 4 + 15**2 * 4 * 8 + 14**2 * 8)
    parameters = 16 * (6 * 4 + 4 * 8 + 8) + 4 + 2 * 8 + 1  # with the biases of the first and the last, and one norm
    assert rows_of["discriminator"] == [f"{parameters / 1e3:.2f} k", f"{flops / 1e9:.3g}", "16 x 16 px", "14 x 14"]
    assert rows_of["images"] == ["train 6, val 2, test 3; 32 x 32 px"]
    assert rows_of["length"] == ["2 epochs of 6 batches of 1: 12 in all"]
    assert rows_of["best"] == ["lowest val/l1"]
    assert rows_of["folder"] == [str(the_run(tmp_path).relative_to(tmp_path))]
    assert re.search(r"^epoch 2/2  batch     12  l1 \d\.\d{4}( \(best so far\))?  psnr ", outcome.out, re.MULTILINE)
    log = (the_run(tmp_path) / "train.log").read_text()
    assert all(line in log for line in outcome.out.splitlines() if line.startswith(("length", "epoch", "weights")))
    run = the_run(tmp_path)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    samples = [p.name for p in sorted((run / "samples").iterdir())]
    steps = [f"step_{step:08d}{rest}.png" for step in (6, 12) for rest in ("", "_discriminator")]
    assert samples == ["latest", *steps]
    images = ("discriminator_fake", "discriminator_real", "fake_B", "real_A", "real_B")
    latest = [f"0{i}_{name}.png" for i in (0, 1) for name in images]
    assert [p.name for p in sorted((run / "samples/latest").iterdir())] == [*latest, "colours.json"]
    colours = json.loads((run / "samples/latest/colours.json").read_text())
    # The default objective of pix2pix says fake below a logit of 0.
    assert (list(colours), colours["discriminator"]["white"]) == (["discriminator"], 0.0)
    assert 0 < colours["discriminator"]["full"] < 10

    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["seed"] == 5
    assert manifest["discriminators"]["discriminator"]["receptive_field"] == 16
    assert manifest["data"]["images"] == {"train": {"A": 6, "B": 6}, "val": {"A": 2, "B": 2}, "test": {"A": 3, "B": 3}}
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert "data=paired" in manifest["command"]

    config = OmegaConf.load(run / "config.yaml")
    assert config.trainer.max_epochs == 2
    assert "${" not in (run / "config.yaml").read_text()

    figures = json.loads((run / "metrics.json").read_text())
    assert figures["protocol"]["images"] == 3
    assert figures["protocol"]["inference_mode"] == "paper"
    for which in ("untrained", "last", "best"):
        assert set(figures[which]) == {"l1", "psnr", "ssim"}
        assert 0 < figures[which]["l1"] < 2
    assert figures["last"] != figures["untrained"]

    table = rows(run)
    steps = [row for row in table if row["train/g_l1"]]
    assert [float(row["images_seen"]) for row in steps] == list(range(1, 13))
    assert [int(row["step"]) for row in steps] == list(range(1, 13))
    assert [float(row["lr/g"]) for row in table if row["lr/g"]] == pytest.approx([2e-4, 1e-4])
    assert [float(row["images_seen"]) for row in table if row["val/l1"]] == [6, 12]
    observed = [row for row in table if row["health/d_acc"]]
    assert len(observed) == 12
    assert all(float(row["health/d_acc"]) <= 1 and float(row["health/grad_ratio"]) > 0 for row in observed)
    for name in ("untrained", "last", "best", "metrics.json", "samples", "step_00000012.png"):
        assert name in outcome.out

    times = read_times(run / "times.csv")
    assert [(row.step, row.images_seen) for row in times] == [(step, step) for step in range(1, 13)]
    for before, after in itertools.pairwise(times):
        assert 0 < before.train_seconds < after.train_seconds
        assert 0 < before.processor_seconds < after.processor_seconds


@pytest.fixture
def whole(finished: Callable[..., Path], tiny_sets: Callable[[str], Path]) -> Path:
    """The folder of a small training that has all of its two epochs of six batches, and each of them in its table."""
    return finished(*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.log_every_n_steps=1")


def test_a_checkpoint_rebuilds_its_model(whole: Path) -> None:
    run = whole
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12
    assert checkpoint["images_seen"] == 12
    cfg: Any = OmegaConf.create(checkpoint["patchlight"]["config"])
    method = build_method(cfg.model, data_channels(cfg.data))
    method.load_state_dict(checkpoint["state_dict"])
    assert not any(key.startswith(("quality", "metric")) for key in checkpoint["state_dict"])


def test_the_same_seed_gives_the_same_run(
    whole: Path, patchlight_train: Any, tiny_sets: Any, tmp_path: Path
) -> None:  # fmt: skip
    """Also with another number of workers, and with validation in between."""
    data = ("data=paired", f"data.root={tiny_sets('paired')}", "trainer.log_every_n_steps=1")
    runs = {"a": whole, "b": tmp_path / "b", "c": tmp_path / "c"}
    for name, extra in (("b", ("data.num_workers=2", "trainer.val_check_interval=3")), ("c", ("seed=1",))):
        assert patchlight_train(*SMALL, *data, *extra, f"hydra.run.dir={name}").status == 0
    losses = {name: [r["train/g_total"] for r in rows(run) if r["train/g_total"]] for name, run in runs.items()}
    assert len(losses["a"]) == 12
    assert losses["a"] == losses["b"]
    assert losses["a"] != losses["c"]


def test_resume_goes_on_counting(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    command = (*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "hydra.run.dir=run", "resume=auto")
    assert patchlight_train(*command, "trainer.max_epochs=1").status == 0
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    assert patchlight_train(*command).status == 0
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert (last["global_step"], last["images_seen"], last["epoch"]) == (12, 12, 2)
    assert [float(row["lr/g"]) for row in rows(tmp_path / "run") if row["lr/g"]] == pytest.approx([2e-4, 1e-4])
    outcome = patchlight_train(*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "resume=nowhere.ckpt")
    assert outcome.status == 1
    assert "nowhere.ckpt is not there" in outcome.err


@pytest.mark.covered
def test_cyclegan_on_unpaired_images(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(
        "model=cyclegan", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4",
        "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "data=unpaired",
        f"data.root={tiny_sets('unpaired')}", "data.image_size=32", "data.load_size=36", "data.num_workers=0",
        "data.val_size=2", "logger=csv", "trainer=cpu", "trainer.max_epochs=1", "data.channels_b=1",
        "model.lambda_identity=0",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    fields = re.findall(r"^(discriminator_.) .* 16 x 16 px +14 x 14$", outcome.out, re.MULTILINE)
    assert fields == ["discriminator_a", "discriminator_b"]
    assert "lowest val/l1, the mean of rec_A/l1 and rec_B/l1: of reconstructions, not of translations" in outcome.out
    assert re.search(
        r"^epoch 1/1  batch      6  rec l1 \d\.\d{4} \(best so far\)  rec psnr ", outcome.out, re.MULTILINE
    )
    figures = json.loads((the_run(tmp_path) / "metrics.json").read_text())
    assert figures["last"]["l1"] == pytest.approx((figures["last"]["rec_A/l1"] + figures["last"]["rec_B/l1"]) / 2)
    with Image.open(the_run(tmp_path) / "samples" / "step_00000006.png") as sheet:
        assert sheet.width > 6 * 128


@pytest.mark.covered
def test_pix2pixhd_on_pairs(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    """The terms are logged before their weights."""
    outcome = patchlight_train(
        *SMALL[5:], "model=pix2pixhd", "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=3",
        "model.generator.ngf=4", "model.generator.n_downsampling=2", "model.generator.n_blocks=1",
        "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "trainer.log_every_n_steps=1",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    steps = [row for row in rows(tmp_path / "run") if row["train/g_feat"]]
    assert [int(row["step"]) for row in steps] == [1, 2, 3]
    for row in steps:
        g_gan, g_feat, g_total = (float(row[f"train/{name}"]) for name in ("g_gan", "g_feat", "g_total"))
        assert g_total == pytest.approx(g_gan + 10 * g_feat, rel=1e-5)
    assert set(json.loads((tmp_path / "run/metrics.json").read_text())["last"]) == {"l1", "psnr", "ssim"}


def test_the_direction_swaps_the_domains(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    command = (*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=1", "data.channels_b=1")
    assert patchlight_train(*command, "data.direction=BtoA", "hydra.run.dir=run").status == 0
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["generator.encoder.0.0.weight"].shape[1] == 1
    assert state["generator.decoder.3.1.weight"].shape[1] == 3


# Slow: four trainings.
def test_multirun_gives_each_job_a_folder(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    """And its own files; that each has its own run of W&B is seen in test_wandb.py."""
    outcome = patchlight_train(
        "-m", *SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=2",
        "model.discriminator.n_layers=1,2", "model.gan_mode=lsgan,vanilla",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (sweep,) = (tmp_path / "logs/train/sweeps").iterdir()
    found = set()
    for job in sorted(p for p in sweep.iterdir() if p.is_dir()):
        config: Any = OmegaConf.load(job / "config.yaml")
        manifest = json.loads((job / "manifest.json").read_text())
        field = manifest["discriminators"]["discriminator"]["receptive_field"]
        assert field == {1: 16, 2: 34}[config.model.discriminator.n_layers]
        assert f"model.gan_mode={config.model.gan_mode}" in manifest["command"]
        assert [float(row["images_seen"]) for row in rows(job) if row["val/l1"]] == [2]
        found.add((field, config.model.gan_mode))
    assert found == {(16, "lsgan"), (16, "vanilla"), (34, "lsgan"), (34, "vanilla")}
    # The table has the jobs in the order of their figures, and the command that compares them comes after it.
    measured = {
        p.name: json.loads((p / "metrics.json").read_text())["best"]["l1"] for p in sweep.iterdir() if p.is_dir()
    }
    lines = [line.replace("│", " ").split() for line in outcome.out.splitlines() if line.startswith("│")]
    ranked = [(line[1], line[-1]) for line in lines if line[0].isdigit() and "finished" in line]
    assert [name for name, _ in ranked] == sorted(measured, key=lambda name: measured[name])
    assert f"\n  patchlight-report runs={sweep.relative_to(tmp_path)}\n" in outcome.out


EXPERIMENTS = sorted(p.stem for p in (config_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_two_steps(
    experiment: str, patchlight_train: Any, tiny_sets: Any, tmp_path: Path
) -> None:
    pairing = "unpaired" if "cyclegan" in experiment else "paired"
    side = 64 if "cyclegan" in experiment else 256  # a U-Net halves it seven or eight times
    outcome = patchlight_train(
        f"experiment={experiment}", "debug=fast", f"data={pairing}", f"data.root={tiny_sets(pairing)}", "logger=csv",
        "trainer=cpu", "data.val_size=2", "model.generator.ngf=2", "model.discriminator.ndf=2",
        "callbacks.patch_maps.n_images=1",
        *([] if experiment == "orange2lemon_cyclegan" else [f"data.load_size={side}", f"data.image_size={side}"]),
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    run = the_run(tmp_path, experiment)
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert len(list((run / "samples").glob("step_????????.png"))) == 1


@pytest.mark.covered
def test_the_built_in_sets_are_rendered_and_read(patchlight_train: Any, tmp_path: Path) -> None:
    for data in ("synthetic", "synthetic_unpaired"):
        outcome = patchlight_train(
            *SMALL, f"data={data}", "data.render.n_train=4", "data.render.n_test=2", "data.render.size=64",
            "trainer.max_steps=1", f"hydra.run.dir={data}", "data.val_size=auto",
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        images = "pairs" if data == "synthetic" else "images of each domain"
        assert (
            f"data.val_size=auto: 1 of the 4 training {images} is kept for validation, as there is no val split\n"
        ) in outcome.out
    assert (tmp_path / "data/synthetic-64-4-2/train/00003.png").is_file()
    assert (tmp_path / "data/synthetic-unpaired-64-4-2/testB/00001.png").is_file()


def test_a_run_without_validation_or_test(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train").symlink_to(tiny_sets("paired") / "train")
    outcome = patchlight_train(*SMALL, "data=paired", "data.root=set", "data.val_size=0", "trainer.max_epochs=1")
    assert outcome.status == 0, outcome.err
    run = the_run(tmp_path)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert set(json.loads((run / "metrics.json").read_text())) == {"protocol"}


@pytest.mark.parametrize(
    ("more", "files", "figures"),
    [
        (("trainer.limit_val_batches=0", "evaluate_untrained=true"), ["last.ckpt"], {"untrained", "last"}),
        (("trainer.limit_test_batches=0",), ["best.ckpt", "last.ckpt"], set()),
    ],
)
def test_stages_can_be_left_out(
    more: tuple[str, ...], files: list[str], figures: set[str], patchlight_train: Any, tiny_sets: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Figures that only the test of the last weights has are in the table, too."""
    monkeypatch.setattr("patchlight.callbacks.Own", Own, raising=False)
    outcome = patchlight_train(
        *SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=1", *more,
        "+callbacks.own={_target_:patchlight.callbacks.Own}",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    run = the_run(tmp_path)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == files
    found = json.loads((run / "metrics.json").read_text())
    assert set(found) == {"protocol", *figures}
    assert json.loads((run / "outcome.json").read_text())["status"] == "finished"
    if figures:
        reason = "no best.ckpt: val/l1, which would choose it, is not measured: trainer.limit_val_batches=0 leaves"
        assert reason in outcome.out
        assert found["last"]["own"] == 0.25
        assert ["own", "0.2500"] in [line.replace("│", " ").split() for line in outcome.out.splitlines()]


def test_a_method_without_pairs_or_settings(
    patchlight_train: Any, tiny_sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no paired metric, and no key for what it decides by itself."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "without_pairs.py").write_text(
        "from typing import Any\nfrom patchlight.methods import Pix2Pix\n"
        "class WithoutPairs(Pix2Pix):\n"
        "    references = {}\n"
        "    def __init__(self, **settings: Any) -> None:\n"
        "        super().__init__(inference_mode='eval', **settings)\n"
    )
    command = [
        *SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=1", "~model.inference_mode",
        "model._target_=without_pairs.WithoutPairs",
    ]  # fmt: skip
    outcome = patchlight_train(*command)
    assert outcome.status == 0, outcome.err
    assert "val/l1, which would choose it, is not measured: WithoutPairs has no references" in outcome.out
    run = the_run(tmp_path)
    found = json.loads((run / "metrics.json").read_text())
    assert found["last"] == {}
    assert (found["protocol"]["inference_mode"], found["protocol"]["compared"]) == ("eval", {})
    assert list((run / "samples").glob("step_*.png"))
    translator = load(run / "checkpoints/last.ckpt", device="cpu", trust=True)
    assert translator.inference_mode == "eval"
    refused = patchlight_train(*command, "objective=val/l1")
    assert refused.status == 1
    assert "objective=val/l1 is no figure of this run" in refused.err


@pytest.mark.parametrize(
    ("more", "shown", "hidden"),
    [
        ((), ["INFO"], ["DEBUG", "lightning"]),
        (("hydra.verbose=true",), ["INFO", "DEBUG", "lightning"], []),
        (("hydra.verbose=[test_of_logging]",), ["INFO", "DEBUG"], ["lightning"]),
        (("hydra.job_logging.root.level=ERROR",), [], ["INFO", "DEBUG", "lightning"]),
        (("hydra/job_logging=none",), [], ["INFO", "DEBUG", "lightning"]),
        (("+hydra.job_logging.loggers.lightning={level:INFO}",), ["INFO", "lightning"], ["DEBUG"]),
    ],
)  # fmt: skip
def test_logging_is_hydras(
    more: tuple[str, ...], shown: list[str], hidden: list[str], patchlight_train: Any, tiny_sets: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """The levels and handlers of the command line hold, and Lightning's lines are for whoever asks for them."""
    mine = logging.getLogger("test_of_logging")
    mine.setLevel(logging.NOTSET)

    def report(cfg: Any) -> None:
        filter_warnings()
        mine.info("hello")
        mine.debug("hello")
        logging.getLogger("lightning.pytorch").info("lightning says")

    monkeypatch.setattr("patchlight.runs.run.train_checked", report)
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    outcome = patchlight_train(*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", *more)
    assert outcome.status == 0, outcome.err
    for kind in [*shown, *hidden]:
        line = "lightning says" if kind == "lightning" else rf"\[test_of_logging\]\[{kind}\] - hello"
        assert (re.search(line, outcome.out) is not None) == (kind in shown), kind


def test_figures_that_own_code_logs_may_be_followed(
    patchlight_train: Any, tiny_sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Whether they are there is known before the first batch, and knowing it changes nothing."""
    monkeypatch.setattr("patchlight.callbacks.Own", Own, raising=False)
    command = (
        *SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "trainer.max_steps=2", "trainer.log_every_n_steps=1",
        "+callbacks.own={_target_:patchlight.callbacks.Own}",
    )  # fmt: skip
    wrong = patchlight_train(*command, "callbacks.best.monitor=val/owm", "hydra.run.dir=wrong")
    assert wrong.status == 1
    assert "callbacks.best.monitor=val/owm is no figure of this run: did you mean val/own? there are " in wrong.err
    assert "val/l1, val/own, val/psnr, val/ssim" in wrong.err
    assert not (tmp_path / "wrong/checkpoints").exists()
    assert not (tmp_path / "wrong/metrics.csv").exists()
    late = patchlight_train(
        *command, "callbacks=early_stopping", "callbacks.early_stopping.monitor=train/typo", "hydra.run.dir=late"
    )
    assert late.status == 1
    assert "callbacks.early_stopping.monitor=train/typo is no figure of this run: " in late.err
    assert "train/g_l1" in late.err
    for name, monitor in (("own", "val/own"), ("l1", "val/l1")):
        done = patchlight_train(*command, f"callbacks.best.monitor={monitor}", f"hydra.run.dir={name}")
        assert done.status == 0, done.err
        assert (tmp_path / name / "checkpoints/best.ckpt").is_file()
    assert rows(tmp_path / "own") == rows(tmp_path / "l1")


class Own(Callback):
    """A metric of the user's."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.log("val/own", 0.5)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.log("test/own", 0.25)


def test_overfitting_two_pairs(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    """The whole of it learns: the L1 term of two images, seen again and again, falls by more than two fifths."""
    outcome = patchlight_train(
        *SMALL, "debug=overfit", "data=paired", f"data.root={tiny_sets('paired')}", "model.generator.ngf=16",
        "model.generator.dropout=false", "model.schedule.n_epochs=50", "data.val_size=0",
        "trainer.log_every_n_steps=1", "model.optimizer.lr=2e-3", "callbacks.last.every_n_epochs=51",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    losses = [float(r["train/g_l1"]) for r in rows(the_run(tmp_path)) if r["train/g_l1"]]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:4])


BAD = {
    "callbacks.best.monitor=val/own": "monitor=val/own is no figure of this run: did you mean val/psnr? there are ",
    "callbacks.best.monitor=val/psnr": "callbacks.best.monitor=val/psnr is better the higher it is: give ",
    "trainer.strategy=fsdp": "trainer.strategy=fsdp is not supported: there are auto, ddp, ddp_spawn, ddp_fork",
    "trainer.num_nodes=2": "trainer.num_nodes=2: this command starts the ranks of this machine alone",
    "model.gan_mode=foo": "model.gan_mode=foo should be 'lsgan', 'vanilla'",
    "model.discriminator.n_layer=3": "did you mean n_layers?",
    "model.discriminator.n_layers=0": "model.discriminator.n_layers=0 should be at least 1",
    "data.root=/nowhere": "data.root=/nowhere is not a folder",
    "data.image_size=abc": "data.image_size=abc should be a valid integer",
    "model.discriminator.n_layers=4": "data.image_size=32: its receptive field is 142 px and it needs images",
    "model.generator.num_downs=6": "data.image_size=32x32 does not suit the generator, which needs multiples of 64",
    "model.gan_mode=wgangp": "model.gan_mode=wgangp without a gradient penalty",
    "model/penalty=wgan_gp": "model.penalties cannot be used with batch norm",
    "data.val_size=500": "data.val_size=500 leaves nothing to train on",
    "data.load_size=16": "data.load_size=16 is smaller than data.image_size=32",
    "resume=here.ckpt": "here.ckpt is not there",
    "model.lambda_l1=-1": "model.lambda_l1=-1 should be at least 0",
    "trainer.precision=16-false": "trainer.precision=16-false should be",
    "trainer.accelerator=tpux": "trainer.accelerator=tpux should be 'auto', 'cpu'",
    "trainer.limit_train_batches=0.0001": "trainer.limit_train_batches=0.0001 leaves nothing to train on: an epoch has",
    "model/generator_term=[ms_ssim]": "model.generator_terms.ms_ssim: needs images of at least 176 px a side, got 32 x",
    "model.optimizer.betas=[0,0.9]": "model.optimizer.betas must be either both floats",
}


@pytest.mark.covered
@pytest.mark.parametrize("override", BAD)
def test_bad_input_is_one_message(override: str, patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(*SMALL, "data=paired", f"data.root={tiny_sets('paired')}", override)
    assert outcome.status == 1
    assert BAD[override] in outcome.err
    assert outcome.err.startswith("patchlight-train: ")
    assert outcome.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.glob("logs/*/runs/*"))


def test_a_worker_that_was_killed_is_one_message() -> None:
    """By the words of PyTorch, whose error has no type of its own; other errors are left alone."""
    with (
        pytest.raises(
            TrainingError, match=r"^a process that reads images is gone \(.* Killed\.\): .* data\.num_workers"
        ),
        _clear_errors(),
    ):
        raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")
    with pytest.raises(RuntimeError, match=r"^a bug in DataLoader worker \(pid 12\)$"), _clear_errors():
        raise RuntimeError("a bug in DataLoader worker (pid 12)")


@pytest.mark.covered
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(workers: int, patchlight_train: Any, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (64, 128, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    whole = (folder / "1.png").read_bytes()
    for name, content in (("1.png", whole[: len(whole) // 2]), ("text.jpg", b"not an image")):
        (folder / name).write_bytes(content)
        outcome = patchlight_train(
            *SMALL, "data=paired", "data.root=set", "data.val_size=0", f"data.num_workers={workers}"
        )
        assert outcome.status == 1
        assert outcome.err.count("\n") == 1
        assert f"set/train/{name} cannot be read as an image" in outcome.err
        (folder / name).unlink()


# Slow: a process of its own, which imports what a refused command does.
def test_the_console_script_has_no_traceback_and_no_second_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "patchlight", "train", "data=paired", "data.root=/nowhere", "logger=csv"]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith("patchlight-train: data.root=/nowhere is not a folder")
    assert process.stderr.count("\n") == 1


@pytest.mark.covered
def test_a_run_ends_early_where_it_no_longer_improves(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(
        *SMALL, "data=paired", f"data.root={tiny_sets('paired')}", "callbacks=early_stopping",
        "callbacks.early_stopping.patience=2", "model.optimizer.lr=1e-12", "trainer.max_epochs=9", "hydra.run.dir=run",
        "callbacks.early_stopping.min_delta=0.01",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert len([row for row in rows(tmp_path / "run") if row["val/l1"]]) == 3
    assert set(json.loads((tmp_path / "run/metrics.json").read_text())) == {"last", "best", "protocol"}
