"""What a W&B run is called, and what the configuration says goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from patchlight.build import build_loggers
from patchlight.loggers.wandb_identity import identity
from patchlight.system.job_record import VARIABLE, JobRecord

CHOICES = {"model": "cyclegan", "experiment": "demo", "sweep": None, "data": "synthetic"}


def hydra(monkeypatch: pytest.MonkeyPatch, mode: str = "RUN", sweep: str | None = None, *overrides: str) -> None:
    node = {
        "mode": RunMode[mode],
        "runtime": {"choices": CHOICES | {"sweep": sweep}},
        "sweep": {"dir": "logs/demo/sweeps/patch_size-1a2b"},
        "overrides": {"task": list(overrides)},
        "job": {"num": 2},
    }
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create(node))


def test_a_single_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hydra(monkeypatch)
    tags = ["demo", "cyclegan"]
    expected = {"group": "demo", "job_type": "train", "name": None, "tags": tags, "notes": None}
    assert identity({"task": "demo"}) == expected
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    assert identity({"task": "demo"})["job_type"] == "sweep"


def test_a_job_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    hydra(monkeypatch, "MULTIRUN", "patch_size", "model/discriminator=patch70", "trainer=cpu", "seed=0")
    monkeypatch.setenv(VARIABLE, "")
    JobRecord("x", swept=("model/discriminator", "seed")).hand_on()
    assert identity({"task": "facades", "question": "How large?"}) == {
        "group": "facades/patch_size-1a2b", "job_type": "sweep", "name": "discriminator=patch70,seed=0",
        "tags": ["facades", "cyclegan", "demo", "patch_size"], "notes": "How large?",
    }  # fmt: skip
    monkeypatch.setenv(VARIABLE, "")
    assert identity({"task": "facades"})["name"] == "2"


def test_a_run_is_found_by_data_method_receptive_field_and_norm() -> None:
    model = {
        "_target_": "patchlight.methods.CycleGAN",
        "generator": {"norm": "instance"},
        "discriminator": {"norm": "spectral" * 9},
    }
    data = {"root": "sets/facades", "_target_": "patchlight.data.ImageDataModule"}
    tags = identity({"task": "train", "model": model, "data": data}, [70, 70, 34])["tags"]
    assert tags == ["train", "facades", "CycleGAN", "70 px", "34 px", "instance norm", ("spectral" * 9)[:64]]
    source = {"root": None, "source": {"_target_": "mine.Slides"}, "_target_": "patchlight.data.ImageDataModule"}
    norms = {"generator": {"norm": "batch"}, "discriminator": {"norm": "batch"}, "_target_": "mine.Own"}
    assert identity({"task": "t", "data": source, "model": norms})["tags"] == ["t", "Slides", "Own", "batch norm"]


def test_outside_of_hydra() -> None:
    expected = {"group": "train", "job_type": "train", "name": None, "tags": ["train"], "notes": None}
    assert identity({"task": "train"}) == expected


def test_the_configuration_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hydra(monkeypatch)
    node: dict[str, Any] = {"_target_": "patchlight.loggers.WandbRun", "save_dir": str(tmp_path), "name": None}
    cfg = OmegaConf.create({"task": "demo", "logger": {"wandb": {**node, "group": "mine", "tags": None}, "csv": None}})
    (run,) = build_loggers(cfg, "id1")
    settings = run._session.settings  # type: ignore[attr-defined]
    assert (settings["run_group"], settings["run_job_type"], settings["run_id"]) == ("mine", "train", "id1")
    assert settings["run_tags"] == ("demo", "cyclegan")
    assert "run_name" not in settings
