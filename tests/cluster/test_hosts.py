"""One training on two hosts: it computes what one process does, and goes on to the same bits when a host is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from equal_runs import assert_equal

from killing import compare
from patchlight.data import SyntheticSet

from .hosts import Host, two_hosts, why_no_hosts

pytestmark = pytest.mark.cluster

COMMAND = (
    "patchlight", "train", "model=pix2pix", "data=paired", "data.root=set", "data.image_size=32", "data.load_size=36",
    "data.num_workers=1", "data.val_size=3", "logger=csv", "trainer.log_every_n_steps=1", "trainer.max_epochs=30",
    "model/optimizer=sgd", "model.optimizer.lr=0.002", "model/generator=unet_128", "model.generator.num_downs=4",
    "model.generator.ngf=8", "model.generator.dropout=false", "model.generator.norm=instance",
    "model.discriminator.ndf=8", "model.discriminator.n_layers=1", "model.discriminator.norm=instance",
    "callbacks.patch_maps=null", "callbacks.samples=null", "callbacks.last.every_n_train_steps=5",
)  # fmt: skip

EXACT = ("trainer.precision=64-true", "trainer.max_steps=20")

LONG = ("trainer.max_steps=40",)
"""In float32."""

TIMES = "join_timeout=120,keep_alive_interval=1,keep_alive_max_attempt=3"
"""A host is taken for lost after three seconds of silence, in place of fifteen."""

# Without the last one, torchrun (PyTorch 2.14) does not tell a host that comes later where the ranks meet.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    reason = why_no_hosts()
    if reason:
        pytest.skip(reason)
    with two_hosts(tmp_path) as both:
        yield both


def start(host: Host, first: Host, run: str, folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """torchrun's agent on a host, and one rank that it starts."""
    agent = (
        "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-id={run}", f"--rdzv-conf={TIMES}",
        f"--rdzv-endpoint={first.address}:29400", "--max-restarts=1", "--shutdown-timeout=2", "-m",
    )  # fmt: skip
    ranks = (
        "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "data.batch_size=1",
        f"hydra.run.dir={run}", "resume=auto",
    )  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", *agent, *COMMAND, *words, *ranks]
    return host.start(command, folder / f"{run}-{host.name}.log", ENVIRONMENT)


def train(hosts: tuple[Host, Host], run: str, folder: Path, words: Sequence[str]) -> None:
    """A training that nobody disturbs."""
    both = [start(host, hosts[0], run, folder, words) for host in hosts]
    assert [process.wait(timeout=240) for process in both] == [0, 0], logs(folder)


def test_two_hosts_compute_what_one_process_does_and_one_may_be_lost(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    """The second host falls silent and comes back, where torchrun is started again, as a cluster's scheduler does.

    Takes a minute on two idle cores: seventeen processes import PyTorch.
    """
    SyntheticSet(n_train=11, n_test=3, size=64).write(tmp_path / "set", "paired")
    one = [sys.executable, "-m", *COMMAND, *EXACT, "trainer=cpu", "data.batch_size=2", "hydra.run.dir=one"]
    subprocess.run(one, cwd=tmp_path, env=ENVIRONMENT, check=True, timeout=120, stdout=subprocess.DEVNULL)
    train(hosts, "two", tmp_path, EXACT)
    assert_equal(tmp_path / "one", tmp_path / "two")

    train(hosts, "whole", tmp_path, LONG)
    first, second = (start(host, hosts[0], "lost", tmp_path, LONG) for host in hosts)
    deadline = time.monotonic() + 120
    while not (tmp_path / "lost" / "checkpoints" / "last.ckpt").is_file():
        assert (first.poll(), second.poll()) == (None, None), logs(tmp_path)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    hosts[1].plug(connected=False)  # before its processes end, so that nothing tells the other host of it
    second.kill()
    second.wait()
    time.sleep(1)
    assert first.poll() is None  # it does not know
    hosts[1].plug(connected=True)
    second = start(hosts[1], hosts[0], "lost", tmp_path, LONG)
    assert [process.wait(timeout=240) for process in (first, second)] == [0, 0], logs(tmp_path)
    assert "going on from last.ckpt, batch" in (tmp_path / "lost-host0.log").read_text()
    assert compare(tmp_path / "whole", tmp_path / "lost") == []


def logs(folder: Path) -> str:
    return "\n".join(f"{path}:\n{path.read_text()}" for path in sorted(folder.glob("*.log")))
