"""What a training leaves with W&B: read back from its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_files import WandbFile, read_runs

from patchlight.config.compose import compose_config, config_dir
from patchlight.config.validation import validate

SMALL = (
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=1", "data.image_size=32", "data.load_size=36", "data.num_workers=0",
    "logger=default", "trainer=cpu", "data.val_size=2", "data=paired", "model.schedule.n_epochs=1",
    "model.schedule.n_epochs_decay=1", "trainer.log_every_n_steps=2", "callbacks.patch_maps=null",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """W&B reads its variables once per process."""
    wandb.teardown()
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    wandb.teardown()


def both_axes(run: WandbFile) -> list[tuple[float, float]]:
    """Batches and images of every row."""
    return [(row["trainer/global_step"], row["images_seen"]) for row in run.history]


def values(run: WandbFile, name: str) -> list[float]:
    return [row[name] for row in run.history if name in row]


@pytest.mark.covered
def test_a_run_and_its_resume_are_one(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    command = (*SMALL, f"data.root={tiny_sets('paired')}", "hydra.run.dir=run", "resume=auto")
    assert patchlight_train(*command, "trainer.max_epochs=1").status == 0
    outcome = patchlight_train(*command)
    assert outcome.status == 0, outcome.err
    first, second = read_runs(tmp_path / "run")
    assert first.id == second.id == torch.load(tmp_path / "run/checkpoints/last.ckpt")["loggers"]["wandb_id"]
    for run in (first, second):
        assert (run.group, run.job_type, run.name, run.exit_code) == ("train", "train", "", 0)
        assert run.tags == ("train", "pix2pix", "paired", "Pix2Pix", "16 px", "batch norm")
        assert run.config["data"]["image_size"] == 32
        assert "${" not in str({key: value for key, value in run.config.items() if key != "_wandb"})
        names = [name for name, path in run.images if path.is_file()]
        assert names.count("samples") == 1
        assert len(values(run, "val/l1")) == len(values(run, "test/l1")) == 1
        assert len(values(run, "train/g_l1")) == 3
        # Batches are of one image. What is logged within a batch stands at the number of batches before it.
        axes = both_axes(run)
        assert all(images in (batches, batches + 1) for batches, images in axes)
        assert [images for _, images in axes] == sorted(images for _, images in axes)
    assert both_axes(first)[-1] == (6, 6)
    assert (both_axes(second)[0], both_axes(second)[-1]) == ((6, 6), (12, 12))


# Slow: four trainings, each with W&B's own service.
def test_four_jobs_are_four_runs_though_one_fails(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(
        "-m", *SMALL, f"data.root={tiny_sets('paired')}", "trainer.max_steps=4", "hydra.sweep.dir=sweeps/first",
        "model.optimizer.lr=2e-4,1e38,1e-4,5e-5",
    )  # fmt: skip
    assert outcome.status == 1
    found = [read_runs(folder.parent) for folder in sorted((tmp_path / "sweeps/first").glob("*/wandb"))]
    assert [len(runs) for runs in found] == [1, 1, 1, 1]
    runs = {run.config["model"]["optimizer"]["lr"]: run for (run,) in found}
    assert len({run.id for run in runs.values()}) == 4
    assert {lr: run.exit_code for lr, run in runs.items()} == {2e-4: 0, 1e38: 1, 1e-4: 0, 5e-5: 0}
    for lr, run in runs.items():
        assert (run.group, run.job_type) == ("train/first", "sweep")
        assert run.name.startswith("lr=")
        assert float(run.name.removeprefix("lr=")) == lr
        if run.exit_code == 0:
            assert len(values(run, "val/l1")) == len(values(run, "test/l1")) == 1
            assert len(values(run, "train/g_l1")) == 2
            assert both_axes(run)[-1] == (4, 4)
            assert all(path.is_file() for _, path in run.images)
            assert "samples" in dict(run.images)


def test_a_wandb_that_is_down_costs_no_training(
    patchlight_train: Any, tiny_sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    command = (*SMALL, f"data.root={tiny_sets('paired')}", "trainer.max_steps=2", "logger.wandb.init_timeout=2")
    outcome = patchlight_train(*command, "hydra.run.dir=run")
    assert outcome.status == 0, outcome.err
    assert outcome.err.startswith("W&B cannot be used (")
    assert outcome.err.count("W&B") == 1
    (run,) = read_runs(tmp_path / "run")
    assert (run.exit_code, len(values(run, "val/l1"))) == (0, 1)


def test_checkpoints_go_up_where_it_is_asked_for(
    patchlight_train: Any, tiny_sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    command = (*SMALL, f"data.root={tiny_sets('paired')}", "trainer.max_epochs=1", "logger.wandb.log_model=true")
    outcome = patchlight_train(*command, "hydra.run.dir=run")
    assert outcome.status == 0, outcome.err
    (run,) = read_runs(tmp_path / "run")
    assert [(aliases, files) for _, aliases, files in run.artifacts] == [
        (("last", "latest"), ("last.ckpt",)), (("best", "latest"), ("best.ckpt",)),
    ]  # fmt: skip


@pytest.mark.slow
def test_pictures_of_spawned_ranks_lie_in_the_run(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    outcome = patchlight_train(
        *SMALL, f"data.root={tiny_sets('paired')}", "hydra.run.dir=run", "trainer.max_epochs=1", "trainer=ddp_spawn",
        "trainer.accelerator=cpu", "trainer.devices=2",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (run,) = read_runs(tmp_path / "run")
    assert run.exit_code == 0
    assert all(path.is_file() for _, path in run.images)
    assert "samples" in dict(run.images)
    assert not (tmp_path / "wandb").exists()
    # Nothing is left of the port at which these ranks met, which another run may have by now.
    assert not {"MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "LOCAL_RANK"} & set(os.environ)


@pytest.mark.covered
def test_tensorboard_shows_the_same(patchlight_train: Any, tiny_sets: Any, tmp_path: Path) -> None:
    command = (*SMALL, f"data.root={tiny_sets('paired')}", "hydra.run.dir=run", "trainer.max_epochs=1")
    assert patchlight_train(*command, "logger=tensorboard").status == 0
    assert not (tmp_path / "run/wandb").exists()
    assert (tmp_path / "run/metrics.csv").is_file()
    shown = EventAccumulator(str(tmp_path / "run/tensorboard"))
    shown.Reload()
    assert {"train/g_l1", "val/l1", "test/l1", "lr/g", "images_seen"} <= set(shown.Tags()["scalars"])
    assert "samples" in shown.Tags()["images"]
    assert [event.step for event in shown.Images("samples")] == [6]
    assert shown.Scalars("images_seen")[-1].value == 6


SWEEPS = sorted((config_dir() / "wandb").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweeps_of_wandb_name_our_keys(path: Path) -> None:
    sweep = yaml.safe_load(path.read_text())
    assert set(sweep) <= {"program", "method", "metric", "parameters", "early_terminate", "command"}
    assert sweep["method"] in ("grid", "random", "bayes")
    assert sweep["metric"] == {"name": "val/l1", "goal": "minimize"}
    env, program, *fixed, rest = sweep["command"]
    assert (env, program, sweep["program"], rest) == ("${env}", "${program}", "patchlight-train", "${args_no_hyphens}")
    assert "logger=wandb" in fixed
    for key, choice in sweep["parameters"].items():
        for value in choice.get("values", (choice.get("min"), choice.get("max"))):
            cfg = compose_config("train", [*fixed, f"{key}={value}"])
            validate(cfg)
            assert OmegaConf.select(cfg, key) == value


def test_there_are_sweeps_of_wandb() -> None:
    assert {path.stem for path in SWEEPS} >= {"grid", "bayes"}
