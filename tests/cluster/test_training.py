"""Trainings on a real SLURM: preempted, queued again, and ended as if nothing had happened; and a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from killing import compare
from patchlight.data import SyntheticSet

from .slurm import Cluster, missing_programs

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not on PATH: {', '.join(missing_programs())}"),
]

TWO_RANKS = (
    "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
)  # fmt: skip

SMALL = (
    "data=paired", "data.image_size=32", "data.load_size=36", "data.num_workers=1", "data.val_size=3",
    "model/generator=unet_128", "model.generator.num_downs=5", "model.generator.ngf=16", "model.discriminator.ndf=16",
    "model.discriminator.n_layers=1", "trainer.log_every_n_steps=1", "callbacks=ema",
)  # fmt: skip

SCRIPTED = ("model.schedule.n_epochs=6", "model.schedule.n_epochs_decay=6", "logger=csv")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

OWN_MODULE = f"--config-dir={SCRIPTS.parent / 'examples' / 'schedule'}"
"""With a schedule of a module that is not installed, which a job of the cluster finds."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    SyntheticSet(n_train=27, n_test=3, size=64).write(root, "paired")
    return root


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the jobs of scripts end as."""
    return alone(images, tmp_path_factory.mktemp("alone"), environment(os.environ), *SCRIPTED)


def environment(before: Mapping[str, str]) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {**before, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "PATH": f"{programs}:{before['PATH']}"}


def train(*arguments: str, env: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["patchlight-train", *arguments], env=env, cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[str] | None = None) -> Path:
    """The first file of that pattern, once it is there."""
    deadline = time.monotonic() + 120
    while True:
        found = next(iter(folder.glob(pattern)), None)
        if found is not None:
            return found
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{pattern} does not come"
        time.sleep(0.1)


def alone(images: Path, folder: Path, env: dict[str, str], *more: str) -> Path:
    """The same training on two ranks that nobody disturbs."""
    process = train(*SMALL, *TWO_RANKS, f"data.root={images}", "hydra.run.dir=alone", *more, env=env, folder=folder)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return folder / "alone"


def wandb_runs(run: Path) -> set[str]:
    """The ids of the W&B runs in a folder; each start of a run has a file of its own."""
    return {path.stem.removeprefix("run-") for path in (run / "wandb").glob("offline-run-*/run-*.wandb")}


def test_a_job_of_the_launcher_is_queued_again_and_goes_on(cluster: Cluster, images: Path, tmp_path: Path) -> None:
    env, lengths = environment(cluster.environment), ("model.schedule.n_epochs=20", "model.schedule.n_epochs_decay=20")
    process = train(
        "launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=20", *SMALL, *TWO_RANKS,
        *lengths, f"data.root={images}", "hydra.sweep.dir=sweep", env=env, folder=tmp_path,
    )  # fmt: skip
    wait_for("sweep/0/checkpoints/last.ckpt", tmp_path, process)
    (job,) = cluster.jobs()
    cluster.requeue(job)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out

    run = tmp_path / "sweep" / "0"
    log = "".join(path.read_text() for path in (tmp_path / "sweep/.submitit").rglob("*_log.*"))
    assert "SIGTERM: saved in" in log, log
    assert "going on from last.ckpt, batch" in log, log
    assert len(wandb_runs(run)) == 1
    assert len(list((run / "wandb").glob("offline-run-*"))) == 2
    assert compare(alone(images, tmp_path, env, *lengths), run) == []


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_plain_script_asks_to_be_queued_again(
    nodes: int, request: pytest.FixtureRequest, images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """As `--signal=USR1@120` does before the time is over."""
    options = () if nodes == 1 else ("--nodes=2", "--ntasks-per-node=1")
    cluster: Cluster = request.getfixturevalue("cluster" if nodes == 1 else "two_nodes")
    run, log = queued_again(cluster, "train.sbatch", options, ["scancel", "--signal=USR1"], images, tmp_path)
    assert "SIGUSR1: saved in" in log, log
    assert compare(undisturbed, run) == []


def test_torchrun_on_two_nodes_asks_to_be_queued_again(
    two_nodes: Cluster, images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Its agents would end by SIGUSR1, which therefore comes to the script, as `--signal=B:USR1@120` sends it."""
    options, signalled = ("--export=ALL,RANKS_PER_NODE=1",), ["scancel", "--batch", "--signal=USR1"]
    run, log = queued_again(two_nodes, "train_torchrun.sbatch", options, signalled, images, tmp_path)
    assert "SIGTERM: saved in" in log, log
    assert compare(undisturbed, run) == []


def queued_again(
    cluster: Cluster, script: str, options: Sequence[str], signalled: Sequence[str], images: Path, folder: Path
) -> tuple[Path, str]:
    """The folder of a job of two ranks that is told to be queued again and ends, and what it has written."""
    env = environment(cluster.environment)
    submitted = subprocess.run(
        ["sbatch", "--parsable", "--cpus-per-task=1", *options, str(SCRIPTS / script), *SMALL, *SCRIPTED,
         "trainer.accelerator=cpu", f"data.root={images}"],
        env=env, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    job = submitted.stdout.strip()
    run, output = folder / "logs" / "slurm" / job, folder / f"slurm-{job}.out"
    wait_for("checkpoints/last.ckpt", run)
    subprocess.run([*signalled, job], env=env, check=True)
    assert cluster.wait(job, timeout=240) == "COMPLETED", output.read_text()
    log = output.read_text()
    assert "going on from last.ckpt, batch" in log, log
    return run, log


def test_a_sweep_of_four_jobs(cluster: Cluster, images: Path, tmp_path: Path) -> None:
    process = train(
        OWN_MODULE, "model/schedule=warm_up", "launcher=slurm", "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.timeout_min=20", *SMALL, "trainer=cpu", f"data.root={images}", "hydra.sweep.dir=sweep",
        "trainer.max_steps=3", "model.gan_mode=lsgan,vanilla", "seed=0,1", env=environment(cluster.environment),
        folder=tmp_path,
    )  # fmt: skip
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert [cluster.wait(job) for job in cluster.jobs()] == ["COMPLETED"] * 4
    found = set()
    for number in range(4):
        checkpoint = torch.load(tmp_path / f"sweep/{number}/checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 3
        config = checkpoint["patchlight"]["config"]
        found.add((config["model"]["gan_mode"], config["seed"]))
        assert len(wandb_runs(tmp_path / f"sweep/{number}")) == 1
    assert found == {(mode, seed) for mode in ("lsgan", "vanilla") for seed in (0, 1)}
