"""The order of the images, the randomness of each, and the processes that read them while the training computes."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import parent_process
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Sampler

MOST_WORKERS = 8
"""More are not started for a rank unless they are asked for."""

LOOK_EVERY_S = 0.25
"""How often a worker looks whether the process that started it is there."""

_training_listens = mmap.mmap(-1, 1)
"""Memory that forked workers share: 1 while the training answers SIGTERM."""


class SampleKey(NamedTuple):
    """What a dataset is asked for. The epoch travels with the index, so that a worker process needs no state."""

    epoch: int
    item: int


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random generator of one sample: crop, flip, colour, partner."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index])))


class EpochSampler(Sampler[SampleKey]):
    """The keys of one epoch for one rank, in an order that depends on seed and epoch only.

    Rank r of n takes every n-th key from the r-th on. If `pad`, the order is wrapped around so that all ranks have the
    same number of keys. Lightning calls `set_epoch` before each epoch. The first epoch may be another than 0, and
    begin after `skip` keys of each rank: where a run that is resumed had left off.
    """

    def __init__(
        self, length: int, *, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1, pad: bool = True,
        epoch: int = 0, skip: int = 0,
    ) -> None:  # fmt: skip
        self.length, self.seed, self.shuffle, self.pad = length, seed, shuffle, pad
        self.rank, self.world_size = rank, world_size
        self.epoch, self.skip = epoch, skip

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.skip = epoch, 0

    def __len__(self) -> int:
        if self.pad:
            return -(-self.length // self.world_size)
        return len(range(self.rank, self.length, self.world_size))

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.arange(self.length)
        if self.shuffle:
            # A key of its own keeps this stream apart from the samples': seeds are padded with zeros.
            seeds = np.random.SeedSequence([self.seed, self.epoch], spawn_key=(1,))
            order = np.random.default_rng(seeds).permutation(self.length)
        for i in range(self.skip, len(self)):
            position = (self.rank + i * self.world_size) % self.length
            yield SampleKey(self.epoch, int(order[position]))


def choose_workers(local_ranks: int) -> int:
    """The worker processes of a rank where nothing else is asked for.

    On the CPU they would take from the training the cores that it computes on, and one is fast enough for it.
    """
    if not torch.accelerator.is_available():
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // local_ranks))


def listen_for_workers(listens: bool) -> None:
    """Say whether this process answers SIGTERM by saving and ending a training, for its workers and itself."""
    _training_listens[0] = int(listens)


def settle_worker(worker: int) -> None:
    """One thread per worker process, which ends with its training and not before.

    A cluster sends its signals to the workers, too, who would be gone before the training has saved itself. So SIGTERM
    ends a worker at once unless the training listens, to which it is handed on then. The signals that ask for nothing
    but a checkpoint are left to the training.
    """
    process = parent_process()
    assert process is not None
    assert process.pid is not None
    parent = process.pid

    def end(signum: int, frame: object) -> None:
        if _training_listens[0] and os.getppid() == parent:
            os.kill(parent, signum)
            return
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    signal.signal(signal.SIGTERM, end)
    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _end_with(parent: int) -> None:
    """End this process soon after that one, which may have been killed."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
