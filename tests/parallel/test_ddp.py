"""Two ranks against one process: the same losses and weights, however the ranks are launched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from equal_runs import assert_equal, rows
from PIL import Image

from forked import run_forked
from patchlight.data import SyntheticSet
from patchlight.data.sources import Folders, Pairing, Split, find_domains
from patchlight.data.sources.shards.writing import ShardWriter

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

COMMON = (
    "data.image_size=32", "data.load_size=36", "data.num_workers=1", "data.val_size=3", "logger=csv",
    "trainer.log_every_n_steps=1", "trainer.precision=64-true", "trainer.max_steps=20", "trainer.max_epochs=10",
    "model/optimizer=sgd", "model.optimizer.lr=0.002", "callbacks.patch_maps.every_n_validations=3",
)  # fmt: skip

PATCHES = ("model.discriminator.ndf=8", "model.discriminator.n_layers=1")

PIX2PIX = (
    "model=pix2pix", "data=paired", "model/generator=unet_128", "model.generator.num_downs=4", "model.generator.ngf=8",
    "model.generator.dropout=false", *PATCHES,
)  # fmt: skip

CYCLEGAN = (
    "model=cyclegan", "data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1",
    "model.generator.ngf=4", "model.pool_size=0", "callbacks=ema", "model/discriminator=several",
    "model.discriminator.discriminators.fine.ndf=8", "model.discriminator.discriminators.coarse.ndf=4",
    "model.discriminator.discriminators.coarse.n_layers=2", "model.discriminator.weights.coarse=0.5",
)  # fmt: skip
"""Against two discriminators in each domain."""

PIX2PIXHD = (
    "model=pix2pixhd", "data=paired", "model.generator.n_downsampling=2", "model.generator.n_blocks=1",
    "model.generator.ngf=4", "callbacks=ema", *PATCHES,
)  # fmt: skip

CUT = (
    "model=cut", "data=unpaired", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4",
    "model.nce_layers=[4,8,12]", "model.sampler.nc=8", "model.num_patches=2000", "callbacks=ema", *PATCHES,
)  # fmt: skip
"""All patches that there are, so that each rank's random numbers decide about their order only."""

FASTCUT = (*(word for word in CUT if word != "model=cut"), "model=fastcut", "model._target_=mirrors.Mirrors")

MIRRORS = """
from patchlight.methods import CUT

class Mirrors(CUT):
    def draw_flip(self):
        return self.global_step % 3 > 0
"""
"""Each rank decides by its own random numbers whether it mirrors its images: here all decide as one process does."""

ONE = ("trainer=cpu", "data.batch_size=2")
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=1")

FOUR_COLOURS = (
    "{_target_:torch.nn.Sequential,_args_:[{_target_:torch.nn.AdaptiveAvgPool2d,output_size:2},"
    "{_target_:torch.nn.Flatten}]}"
)
"""Features of an image for distances between sets."""

OWN_PARTS = """
from torch import nn
from patchlight.losses import GeneratorTerm

class Variation(GeneratorTerm):
    def forward(self, images):
        return images.fake.diff(dim=3).square().mean()

class Mirror(nn.Module):
    def forward(self, images):
        return images.flip(-1) * 0.5
"""
"""A term and an augmentation without randomness."""

WITH_OWN_PARTS = (
    "+model.generator_terms.variation._target_=own_parts.Variation", "+model.generator_terms.variation.weight=2",
    "model.discriminator_augment={_target_: own_parts.Mirror}",
)  # fmt: skip

Sets = Callable[[Pairing], Path]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    root = tmp_path_factory.mktemp("sets")

    def folder(pairing: Pairing) -> Path:
        SyntheticSet(n_train=11, n_test=3, size=64).write(root / pairing, pairing)
        return root / pairing

    return folder


def train(folder: Path, *arguments: str, launcher: str = "forked") -> None:
    """Run the command; its ranks are forked, or started as a user's are, by the command itself or by torchrun."""
    if launcher == "torchrun":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        done = subprocess.run(
            [*torchrun, "patchlight", "train", *arguments], cwd=folder, capture_output=True, text=True, timeout=1200,
            check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    else:
        jobs = 2 if "-m" in arguments else 1
        run_forked("train", *arguments, folder=folder, spares=jobs if launcher == "forked" else 0)


@pytest.mark.parametrize(("norm", "launchers"), [("instance", ("lightning", "torchrun")), ("sync_batch", ("forked",))])
def test_two_ranks_compute_what_one_process_does(
    norm: str, launchers: tuple[str, ...], sets: Sets, tmp_path: Path
) -> None:
    command = (
        *COMMON, *PIX2PIX, f"data.root={sets('paired')}", f"model.generator.norm={norm}",
        f"model.discriminator.norm={norm}", f"callbacks.quality.feature={FOUR_COLOURS}",
    )  # fmt: skip
    if norm == "instance":
        (tmp_path / "own_parts.py").write_text(OWN_PARTS)
        command += WITH_OWN_PARTS
    train(tmp_path, *command, *ONE, "hydra.run.dir=one")
    assert ("train/g_variation" in rows(tmp_path / "one")[0]) == (norm == "instance")
    for launcher in launchers:
        train(tmp_path, *command, *TWO, f"hydra.run.dir={launcher}", launcher=launcher)
        assert_equal(tmp_path / "one", tmp_path / launcher)
        pictures = [tmp_path / run / "samples/step_00000020.png" for run in ("one", launcher)]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
        figures = [json.loads((tmp_path / run / "metrics.json").read_text())["last"] for run in ("one", launcher)]
        assert figures[1] == pytest.approx(figures[0], rel=1e-5)


def test_two_ranks_compute_what_one_process_does_in_pix2pixhd(sets: Sets, tmp_path: Path) -> None:
    """Features of the discriminator are compared on each rank for its own images, at every scale."""
    command = (*COMMON, *PIX2PIXHD, f"data.root={sets('paired')}", "model.accumulate=2")
    train(tmp_path, *command, *ONE, "hydra.run.dir=one")
    assert {"train/g_feat", "train/g_gan"} <= rows(tmp_path / "one")[1].keys()
    train(tmp_path, *command, *TWO, "hydra.run.dir=two")
    assert_equal(tmp_path / "one", tmp_path / "two")
    pictures = [[path.name for path in sorted((tmp_path / run).rglob("*scale*.png"))] for run in ("one", "two")]
    assert pictures[0] == pictures[1] != []


def test_two_ranks_compute_what_one_process_does_on_shards(sets: Sets, tmp_path: Path) -> None:
    """The order of a set in shards is one of its own, which all ranks share."""
    splits = {split: find_domains(Folders(sets("paired")), split, "paired") for split in get_args(Split)}
    (tmp_path / "set").mkdir()
    ShardWriter(tmp_path / "set", shard_bytes=20_000).write(splits, True, lambda: None)
    command = (
        *COMMON, *PIX2PIX, "data/source=shards", f"data.root={tmp_path / 'set'}", "data.source.window=2",
        "model.generator.norm=instance", "model.discriminator.norm=instance",
    )  # fmt: skip
    train(tmp_path, *command, *ONE, "hydra.run.dir=one")
    train(tmp_path, *command, *TWO, "hydra.run.dir=two")
    assert_equal(tmp_path / "one", tmp_path / "two")


def test_a_stateful_augmentation_goes_on_exactly_on_two_ranks(sets: Sets, tmp_path: Path) -> None:
    """Its draws, which are others on each rank, and its probability, which is the same on both."""
    command = (
        "model/discriminator_augment=ada", "model.discriminator_augment.interval=1",
        "model.discriminator_augment.ramp_images=40", "model.discriminator_augment.target=-1",
        *(word for word in COMMON if word != "trainer.precision=64-true"), "trainer.precision=32-true", *PIX2PIX,
        f"data.root={sets('paired')}", "model.discriminator.norm=instance", *TWO,
    )  # fmt: skip
    train(tmp_path, *command, "hydra.run.dir=alone", "trainer.max_steps=8")
    train(tmp_path, *command, "hydra.run.dir=resumed", "trainer.max_steps=3")
    train(tmp_path, *command, "hydra.run.dir=resumed", "trainer.max_steps=8", "resume=auto")
    alone, resumed = (
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in ("alone", "resumed")
    )
    assert alone["state_dict"].keys() == resumed["state_dict"].keys()
    for name, value in alone["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name
    states = [rank for saved in (alone, resumed) for rank in saved["ranks"]]
    chance = "adversarial.augment.probability"
    assert len({float(rank["buffers"][chance]) for rank in states}) == 1
    assert float(states[0]["buffers"][chance]) == pytest.approx(8 * 2 / 40)
    draws = [rank["random"]["torch"] for rank in states]
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize(
    ("method", "strategy"),
    [(CYCLEGAN, "ddp_spawn"), (CUT, "ddp"), (FASTCUT, "ddp")],
    ids=["cyclegan", "cut", "fastcut"],
)
def test_unpaired_methods_with_averages(method: tuple[str, ...], strategy: str, tmp_path: Path) -> None:
    """The first with ranks that are spawned.

    On noise: where an image is flat, an L1 term is exactly at its kink, and rounding decides about its gradient.
    """
    rng = np.random.default_rng(0)
    for split, n in (("trainA", 11), ("trainB", 11), ("testA", 3), ("testB", 3)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for i in range(n):
            noise = rng.integers(0, 255, (36, 36, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "set" / split / f"{i}.png")
    (tmp_path / "mirrors.py").write_text(MIRRORS)
    command = (*COMMON, *method, "data.root=set")
    train(tmp_path, *command, *ONE, "hydra.run.dir=one")
    train(tmp_path, *command, *TWO, f"trainer={strategy}", "hydra.run.dir=two")
    assert_equal(tmp_path / "one", tmp_path / "two")


def test_a_third_network_is_the_same_on_both_ranks(sets: Sets, tmp_path: Path) -> None:
    """Its own optimizer moves it; each rank writes down its own weights."""
    (tmp_path / "third.py").write_text(
        "import torch\nfrom read_back import ReadBack\n"
        "class Third(ReadBack):\n"
        "    def on_train_end(self) -> None:\n"
        "        super().on_train_end()\n"
        "        torch.save(self.state_dict(), f'{self.trainer.world_size}_{self.global_rank}.pt')\n"
    )
    command = (
        f"--config-dir={EXAMPLES / 'third_network'}", *COMMON, *PIX2PIX[1:], "model=read_back",
        "model._target_=third.Third", f"data.root={sets('paired')}", "model.generator.norm=instance",
        "model.discriminator.norm=instance", "model.reader.n_blocks=1", "model.reader.ngf=4",
        "model/optimizer@model.optimizers.reader=sgd",
    )  # fmt: skip
    train(tmp_path, *command, *ONE, "hydra.run.dir=one")
    train(tmp_path, *command, *TWO, "hydra.run.dir=two")
    assert_equal(tmp_path / "one", tmp_path / "two")
    alone, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    for name, value in alone.items():
        np.testing.assert_allclose(first[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    assert any(name.startswith("reader.") for name in alone)


def test_a_sweep_on_two_ranks_has_one_folder_per_job(sets: Sets, tmp_path: Path) -> None:
    train(
        tmp_path, "-m", *COMMON, *PIX2PIX, f"data.root={sets('paired')}", *TWO, "trainer.max_steps=3",
        "model.gan_mode=lsgan,vanilla",
    )  # fmt: skip
    (sweep,) = (tmp_path / "logs/train/sweeps").iterdir()
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["0", "1"]
    modes = []
    for job in ("0", "1"):
        saved = torch.load(sweep / job / "checkpoints/last.ckpt", weights_only=True)
        assert (saved["global_step"], saved["images_seen"], len(saved["ranks"])) == (3, 6, 2)
        modes.append(saved["patchlight"]["config"]["model"]["gan_mode"])
    assert modes == ["lsgan", "vanilla"]
    assert not (tmp_path / "logs/train/runs").exists()


def test_ranks_of_torchrun_share_a_folder_that_nobody_named(sets: Sets, tmp_path: Path) -> None:
    train(tmp_path, *COMMON, *PIX2PIX, f"data.root={sets('paired')}", *TWO, "trainer.max_steps=1", launcher="torchrun")
    (run,) = (tmp_path / "logs/train/runs").iterdir()
    assert (run / "metrics.json").is_file()


def test_survivors_of_a_killed_rank_say_so_in_a_line(sets: Sets, tmp_path: Path) -> None:
    """Three processes, of which the one in the middle goes."""
    command = (*COMMON, *PIX2PIX, f"data.root={sets('paired')}", *TWO, "trainer.devices=3", "hydra.run.dir=run")
    process = subprocess.Popen(
        [sys.executable, "-m", "patchlight", "train", *command, "trainer.max_steps=5000", "trainer.max_epochs=5000"],
        cwd=tmp_path, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while not (tmp_path / "run/checkpoints/last.ckpt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True)
    ranks = [int(line.split()[0]) for line in children.stdout.splitlines() if "patchlight.runs.worker" in line]
    os.kill(ranks[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "patchlight-train: rank 1 was ended by SIGKILL, often because memory ran out; resume=auto" in err
    assert err.count("patchlight-train: another rank is gone") <= 1  # the last one may be ended before it knows
    assert err.count("\n") == 1 + err.count("another rank is gone")
