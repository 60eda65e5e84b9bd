"""Going on with a run: exactly, from the newest good checkpoint, and after whatever stopped it."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import Forked
from killing import MODELS, compare, differences, image_set, kill_and_resume, reference
from patchlight.callbacks.clock import read_times

SMALL = (
    "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=4", "model.discriminator.ndf=4",
    "model.discriminator.n_layers=1", "data.image_size=32", "data.load_size=36", "data.num_workers=0", "logger=csv",
    "trainer=cpu", "data.val_size=2", "model.schedule.n_epochs=2", "model.schedule.n_epochs_decay=2",
    "trainer.log_every_n_steps=1", "data=paired", "callbacks=ema", "callbacks.patch_maps=null",
)  # fmt: skip

Finished = Callable[..., Path]


def checkpoint(run: Path, name: str = "last.ckpt") -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "checkpoints" / name, weights_only=True)
    return loaded


def rates(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["lr/g"]) for row in csv.DictReader(file) if row["lr/g"]]


@pytest.fixture
def command(tiny_sets: Callable[[str], Path]) -> tuple[str, ...]:
    return (*SMALL, f"data.root={tiny_sets('paired')}", "resume=auto")


EACH_EPOCH = "trainer.val_check_interval=1.0"
"""The setting of a run that several tests begin with, which is trained once."""


# Slow: up to five trainings of several epochs, which must end alike.
@pytest.mark.parametrize(
    ("setting", "stops"),
    [
        pytest.param(EACH_EPOCH, (4, 6), marks=pytest.mark.covered),
        (
            "trainer.val_check_interval=0.5 model/discriminator_augment=ada model.discriminator_augment.ramp_images=30 "
            "model.discriminator_augment.target=-1 model/generator_term=[ssim,feature_matching]",
            (9,),
        ),
        ("model.accumulate=4 trainer.precision=64-true", (6, 9)),
    ],
)
def test_a_run_goes_on_within_an_epoch_and_after_one(
    setting: str, stops: tuple[int, ...], finished: Finished, patchlight_train: Any, command: tuple[str, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Six batches make an epoch; also where validation is due just then, or batches wait for their step.

    A run that ends within an epoch has validated, too, and has a best checkpoint.
    """
    command = (*command, *setting.split())
    whole = checkpoint(finished(*command))
    table = (finished(*command) / "metrics.csv").read_bytes().splitlines()
    for stop in stops:
        run = f"stopped-{stop}"
        assert patchlight_train(*command, f"hydra.run.dir={run}", f"trainer.max_steps={stop}").status == 0
        assert checkpoint(tmp_path / run)["global_step"] == stop
        best = checkpoint(tmp_path / run, "best.ckpt")
        assert best["progress"]["metrics"]["val/l1"] == pytest.approx(best["callbacks"]["BestCheckpoint"]["score"])
        assert {"last", "best"} < json.loads((tmp_path / run / "metrics.json").read_text()).keys()
        outcome = patchlight_train(*command, f"hydra.run.dir={run}")
        assert f"going on from last.ckpt, batch {stop}" in outcome.out
        parts = checkpoint(tmp_path / run)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "ema", "ranks", "global_step", "images_seen"):
            assert list(differences(whole[key], parts[key], key)) == [], f"stopped after batch {stop}"
        assert (tmp_path / run / "metrics.csv").read_bytes().splitlines() == table, f"stopped after batch {stop}"
        times = read_times(tmp_path / run / "times.csv")
        assert [row.step for row in times] == sorted({row.step for row in times}), "each step once, in their order"
        assert stop in [row.step for row in times]
        assert times[-1].step == whole["global_step"]
        assert all(before < after for before, after in itertools.pairwise(row.processor_seconds for row in times))
    if "augment=ada" in setting:  # the probability has moved before and after the stop
        assert whole["state_dict"]["adversarial.augment.probability"] == pytest.approx(24 / 30)
        assert b"health/d_overfit" in table[0]


def test_learning_rates_are_those_of_the_formula(
    patchlight_train: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    """lr(e) = lr(0) (1 - max(0, e + 1 - n_epochs) / (n_epochs_decay + 1)); a finished run goes on with a longer one."""
    short = ("model.schedule.n_epochs=1", "model.schedule.n_epochs_decay=1")
    outcome = patchlight_train(*command, "hydra.run.dir=run", *short, "trainer.max_epochs=3")
    assert "longer than the 2 epochs of model.schedule: from epoch 3 on the learning rate is 0" in outcome.out
    assert rates(tmp_path / "run") == pytest.approx([2e-4, 1e-4, 0.0])
    refused = patchlight_train(*command, "hydra.run.dir=run", *short)
    assert refused.status == 1
    assert "trainer.max_epochs=2 is less than the 3 epochs that" in refused.err
    outcome = patchlight_train(*command, "hydra.run.dir=run")
    assert "going on from last.ckpt, batch 18" in outcome.out
    assert "longer than" not in outcome.out
    assert rates(tmp_path / "run") == pytest.approx([2e-4, 1e-4, 0.0, 2e-4 / 3])
    assert json.loads((tmp_path / "run/outcome.json").read_text())["status"] == "finished"


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    finished: Finished, patchlight_train: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    command = (*command, EACH_EPOCH)
    whole = finished(*command)
    shutil.copytree(whole, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    (folder / "best.ckpt").unlink()
    damaged = bytearray((folder / "last.ckpt").read_bytes())
    damaged[len(damaged) // 2] ^= 4  # a bit in the middle, where the weights are
    (folder / "last.ckpt").write_bytes(damaged)
    outcome = patchlight_train(*command, "hydra.run.dir=run")
    assert outcome.status == 0, outcome.err
    assert "run/checkpoints/last.ckpt is damaged" in outcome.out
    assert "going on from previous.ckpt, batch 18" in outcome.out
    assert list(differences(checkpoint(whole)["state_dict"], checkpoint(tmp_path / "run")["state_dict"])) == []

    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    outcome = patchlight_train(*command, "hydra.run.dir=run")
    assert outcome.status == 1
    assert "resume=auto found no good checkpoint in" in outcome.err
    assert outcome.err.count("\n") == 1


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def test_code_in_a_checkpoint_is_not_run(patchlight_train: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    torch.save({"patchlight": {"format": 2}, "state_dict": Malicious(tmp_path / "trace")}, tmp_path / "evil.ckpt")
    outcome = patchlight_train(*command, "resume=evil.ckpt")
    assert outcome.status == 1
    assert "evil.ckpt holds more than tensors and plain values and was not loaded" in outcome.err
    assert outcome.err.count("\n") == 1
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "evil.ckpt", folder / "last.ckpt")
    assert patchlight_train(*command, "hydra.run.dir=run").status == 1
    assert not (tmp_path / "trace").exists()


def test_another_architecture_is_named(patchlight_train: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    assert patchlight_train(*command, "hydra.run.dir=run", "trainer.max_steps=1").status == 0
    outcome = patchlight_train(*command, "hydra.run.dir=run", "model.generator.ngf=8")
    assert outcome.status == 1
    assert "last.ckpt holds other networks than model describes" in outcome.err


def test_another_batch_size_goes_on_from_the_same_image(
    patchlight_train: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    assert patchlight_train(*command, "hydra.run.dir=run", "trainer.max_steps=4").status == 0
    outcome = patchlight_train(*command, "hydra.run.dir=run", "data.batch_size=2")
    assert outcome.status == 0
    assert "it goes on from the same image, but not to the same bits" in outcome.err
    last = checkpoint(tmp_path / "run")
    assert (last["global_step"], last["images_seen"]) == (4 + 1 + 3 * 3, 4 * 6)


def test_a_run_is_not_written_over(patchlight_train: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    assert patchlight_train(*command, "hydra.run.dir=run", "trainer.max_steps=1").status == 0
    before = (tmp_path / "run/metrics.csv").read_bytes()
    outcome = patchlight_train(*command, "hydra.run.dir=run", "resume=null")
    assert outcome.status == 1
    assert "/run holds a run already, which would be lost" in outcome.err
    assert (tmp_path / "run/metrics.csv").read_bytes() == before
    assert patchlight_train(*command, "hydra.run.dir=other", "resume=run/checkpoints/last.ckpt").status == 0
    assert checkpoint(tmp_path / "other")["global_step"] == 24
    # Nothing is left to be done: it is measured again.
    finished = patchlight_train(*command, "hydra.run.dir=third", "resume=other/checkpoints/last.ckpt")
    assert finished.status == 0, finished.err
    figures = [json.loads((tmp_path / run / "metrics.json").read_text())["last"] for run in ("other", "third")]
    assert figures[0] == figures[1]


def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    finished: Finished, patchlight_train: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    command = (*command, EACH_EPOCH)
    shutil.copytree(finished(*command), tmp_path / "run")
    expected = (tmp_path / "run" / "metrics.csv").read_text()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert patchlight_train(*command, "hydra.run.dir=run").status == 0
    assert (tmp_path / "run" / "metrics.csv").read_text() == expected


def test_weights_and_averages_are_both_there(patchlight_train: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    short = ("trainer.max_epochs=1", "callbacks.ema.decay=0.5")
    assert patchlight_train(*command, "hydra.run.dir=run", *short).status == 0
    saved = checkpoint(tmp_path / "run")
    assert set(saved["ema"]) == {key for key in saved["state_dict"] if key.startswith("generator.")}
    assert any(not torch.equal(value, saved["state_dict"][key]) for key, value in saved["ema"].items())


@pytest.mark.parametrize(
    ("setting", "ours"),
    [
        ("trainer.gradient_clip_val=1", "use model.clip_g and model.clip_d"),
        ("+trainer.gradient_clip_val=1", "use model.clip_g and model.clip_d"),
        ("+trainer.accumulate_grad_batches=4", "use model.accumulate"),
    ],
)
def test_lightnings_own_settings_lead_to_ours(
    setting: str, ours: str, patchlight_train: Any, command: tuple[str, ...]
) -> None:
    outcome = patchlight_train(*command, setting)
    assert outcome.status == 1
    assert ours in outcome.err
    assert outcome.err.count("\n") == 1


def launch(command: tuple[str, ...], folder: Path) -> Forked:
    return Forked("train", *command, "hydra.run.dir=run", folder=folder)


def wait_for(path: Path, process: Forked) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_signals(command: tuple[str, ...], tmp_path: Path) -> None:
    """SIGUSR1 saves and goes on, SIGTERM saves and ends; what follows is the run as it would have been."""
    command = (*command, "model.schedule.n_epochs=25", "model.schedule.n_epochs_decay=5", "data.num_workers=1")
    process = launch(command, tmp_path)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    first = last.stat().st_ino
    process.send_signal(signal.SIGUSR1)
    while last.stat().st_ino == first:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 143
    assert "SIGTERM: saved in" in err
    assert "resume=auto goes on from there" in err
    assert "Traceback" not in err
    stopped_at = checkpoint(tmp_path / "run")["global_step"]
    assert stopped_at < 180
    resumed = launch(command, tmp_path)
    out, err = resumed.communicate(timeout=1200)
    assert resumed.returncode == 0, err
    assert f"going on from last.ckpt, batch {stopped_at}" in out
    (tmp_path / "run").rename(tmp_path / "parts")
    whole = launch(command, tmp_path)
    whole.communicate(timeout=1200)
    assert compare(tmp_path / "run", tmp_path / "parts") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_a_full_disk_costs_no_earlier_checkpoint(
    small_disk: Callable[[int], Path], patchlight_train: Any, command: tuple[str, ...], tmp_path: Path
) -> None:
    command = (
        *(part for part in command if not part.startswith("resume")),
        "callbacks.samples=null",
        "callbacks.health=null",
    )
    assert patchlight_train(*command, "hydra.run.dir=big", "trainer.max_steps=1").status == 0
    size = (tmp_path / "big/checkpoints/last.ckpt").stat().st_size
    disk = small_disk(int(3.7 * size))
    outcome = patchlight_train(*command, f"hydra.run.dir={disk}/run")
    assert outcome.status == 1
    assert "No space left on device" in outcome.err
    assert "checkpoints written before are untouched" in outcome.err
    assert outcome.err.count("\n") == 1
    kept = sorted(path.name for path in (disk / "run/checkpoints").iterdir())
    assert "last.ckpt" in kept
    assert not any("part" in name for name in kept)
    assert all(checkpoint(disk / "run", name)["global_step"] > 0 for name in kept)


def test_a_folder_that_cannot_be_written(patchlight_train: Any, command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = patchlight_train(*command, "hydra.run.dir=file/run")
    assert outcome.status == 1
    assert "hydra.run.dir=file/run cannot be a folder:" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("model", [m for m in MODELS if m not in ("shards", "served")])  # s3 stands for both
def test_kill(model: str, tmp_path: Path) -> None:
    """Killed at a random moment and, going on, while it writes a checkpoint; `killing.py` does it more often."""
    with image_set(model, tmp_path) as data:
        duration = reference(model, data, tmp_path / "alone")
        kill_and_resume(model, data, tmp_path / "killed", duration, random.Random(1), moments=(0, 3))
        assert compare(tmp_path / "alone", tmp_path / "killed") == []
