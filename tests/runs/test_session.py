"""Trainings from Python, as a script or a notebook makes them."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import patchlight
from patchlight.errors import ConfigError, DataError
from patchlight.system.job_record import VARIABLE

SMALL = [
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=1", "data=paired", "data.image_size=32", "data.load_size=36", "data.num_workers=0",
    "data.val_size=2", "logger=csv", "trainer=cpu", "trainer.max_steps=2", "callbacks.patch_maps=null",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command has left its record."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.covered
def test_a_training_returns_its_folder_and_figures(
    tiny_sets: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """From a configuration of `compose`, which is not changed; the process is as it was, apart from random numbers."""
    own = logging.getLogger("a.script")
    words = [f"data.root={tiny_sets('paired')}", "extras.note=second camera", "objective=val/psnr"]
    cfg = patchlight.compose([*SMALL, *words])
    cfg.seed = 3
    filters, handlers = list(warnings.filters), list(logging.getLogger().handlers)

    result = patchlight.train(cfg)

    own.warning("not in the log any more")
    assert (list(warnings.filters), list(logging.getLogger().handlers)) == (filters, handlers)
    assert VARIABLE not in os.environ
    assert cfg.trainer.max_epochs is None
    assert result.folder == Path(cfg.paths.run_dir)
    assert result.folder.resolve().parent == tmp_path / "logs/train/runs"
    written = json.loads((result.folder / "metrics.json").read_text())
    assert written == {**result.figures, "protocol": result.protocol}
    assert set(result.figures["best"]) == {"l1", "psnr", "ssim"}
    outcome = json.loads((result.folder / "outcome.json").read_text())
    assert outcome["objective"] == {"name": "val/psnr", "value": result.objective}
    assert outcome["overrides"] == []
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert (manifest["seed"], manifest["command"]) == (3, None)
    assert str(result.folder) in capsys.readouterr().out
    log = (result.folder / "train.log").read_text()
    assert "method   Pix2Pix, AtoB, seed 3" in log
    assert "any more" not in log

    assert result.checkpoint == result.folder / "checkpoints/best.ckpt"
    method, batch = result.method(), next(iter(result.data().test_dataloader()))
    image = batch["A"].float() / 127.5 - 1
    translate = patchlight.load(result.checkpoint, device="cpu")
    assert torch.equal(method.translate({"A": image, "B": image})["fake_B"], translate(image))
    recorded = torch.load(result.checkpoint, weights_only=True)["patchlight"]["config"]
    assert recorded["extras"] == {"note": "second camera"}


def test_every_configuration_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = (patchlight.compose(["data=paired", "data.root=x"]) for _ in range(2))
    assert first.paths.run_dir != second.paths.run_dir
    assert Path(first.paths.run_dir).parent == Path("logs/train/runs")
    assert patchlight.compose(["hydra.run.dir=mine"]).paths.run_dir == "mine"
    assert patchlight.compose(["paths.run_dir=here"]).paths.run_dir == "here"
    cfg = patchlight.compose(["model.generator.ngf=8"])
    cfg.data.render.size = 99
    assert cfg.data.root == "data/synthetic-99-400-100"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=cyclegan"], r"^modle is no key of the configuration: did you mean model\?"),
        (["seed=1,2"], "^seed has several values, which make a sweep"),
        (["seed=-1"], "^seed=-1 should be"),
        (["extras={_target_: os.system}"], "^extras._target_ would make an object"),
        ("seed=1", "^overrides='seed=1' should be a list of words"),
    ],
)
def test_mistakes_are_errors_and_no_exits(words: list[str], message: str) -> None:
    for function in (patchlight.compose, patchlight.train):
        with pytest.raises(ConfigError, match=message):
            function(words)


def test_a_folder_of_one_s_own(tmp_path: Path) -> None:
    """A module beside its YAML file, as with --config-dir."""
    examples = Path(__file__).resolve().parents[2] / "examples/schedule"
    cfg = patchlight.compose(["model/schedule=warm_up"], config_dir=examples)
    assert cfg.model.schedule._target_ == "warm_up.warm_up"
    with pytest.raises(ConfigError, match="^config_dir=nowhere is not a folder"):
        patchlight.compose([], config_dir="nowhere")
    with pytest.raises(DataError, match="nowhere"):
        patchlight.train(["data=paired", "data.root=nowhere"])
    assert not (tmp_path / "logs").exists()
