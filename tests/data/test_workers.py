from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkProcess

import pytest
import torch

from patchlight.data.loading import choose_workers, listen_for_workers, settle_worker


def test_the_cpu_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert choose_workers(1) == choose_workers(4) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are counted in another way")
@pytest.mark.parametrize(
    ("cores", "ranks", "workers"), [(1, 1, 1), (6, 1, 6), (64, 1, 8), (64, 16, 4), (6, 4, 1), (2, 8, 1)]
)
def test_ranks_share_the_cores(cores: int, ranks: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert choose_workers(ranks) == workers


FORKS = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forked on Linux only")


def work(ready: object) -> None:
    settle_worker(0)
    ready.set()  # type: ignore[attr-defined]
    time.sleep(30)


def started() -> ForkProcess:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=work, args=(ready,))
    worker.start()
    assert ready.wait(10)
    return worker


@pytest.fixture
def worker() -> Iterator[ForkProcess]:
    process = started()
    yield process
    process.kill()
    process.join()


@FORKS
def test_sigterm_ends_a_worker_within_a_second(worker: ForkProcess) -> None:
    assert worker.pid is not None
    for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        os.kill(worker.pid, signum)
    worker.join(timeout=1)
    assert worker.exitcode == -signal.SIGTERM


@FORKS
def test_sigterm_goes_on_to_a_training_that_listens(worker: ForkProcess) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    assert worker.pid is not None
    try:
        listen_for_workers(True)
        os.kill(worker.pid, signal.SIGTERM)
        worker.join(timeout=0.3)
        assert (heard, worker.exitcode) == ([signal.SIGTERM], None)
    finally:
        listen_for_workers(False)
        signal.signal(signal.SIGTERM, before)
    worker.terminate()
    worker.join(timeout=1)
    assert worker.exitcode == -signal.SIGTERM


@FORKS
def test_a_worker_ends_within_a_second_of_its_parent() -> None:
    """However that one ends."""
    read, write = os.pipe()

    def parent() -> None:
        os.write(write, str(started().pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=parent)
    process.start()
    process.join(10)
    pid = int(os.read(read, 20))
    deadline = time.monotonic() + 1
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
