"""The order of the images, the randomness of each, and the processes that read them while the training computes."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Sampler

from patchlight.data.ordering import Blocks, full_order, repeated_order

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
    images: tuple[int, int] | None = None
    """Which A meets which B, where that follows from the order of the epoch."""


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random generator of one sample: crop, flip, colour, partner."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index])))


class EpochSampler(Sampler[SampleKey]):
    """The keys of one epoch for one rank, in an order that depends on seed and epoch only.

    Rank r of n takes every n-th key from the r-th on. If `pad`, the order is wrapped around so that all ranks have the
    same number of keys. Lightning calls `set_epoch` before each epoch. The first epoch may be another than 0, and
    begin after `skip` keys of each rank: where a run that is resumed had left off.

    With `blocks`, those of A and of B, the order needs few blocks at a time; see `patchlight.data.ordering`. Where the
    images are not `paired`, each domain has such an order of its own, and what meets are the images at the same place.
    """

    def __init__(
        self, length: int, *, seed: int, shuffle: bool, rank: int = 0, world_size: int = 1, pad: bool = True,
        epoch: int = 0, skip: int = 0, blocks: tuple[Blocks, Blocks] | None = None, paired: bool = True,
    ) -> None:  # fmt: skip
        self.length, self.seed, self.shuffle, self.pad = length, seed, shuffle, pad
        self.rank, self.world_size = rank, world_size
        self.epoch, self.skip = epoch, skip
        self.blocks, self.paired = blocks, paired

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.skip = epoch, 0

    def __len__(self) -> int:
        if self.pad:
            return -(-self.length // self.world_size)
        return len(range(self.rank, self.length, self.world_size))

    def __iter__(self) -> Iterator[SampleKey]:
        key_at = self._keys()
        for i in range(self.skip, len(self)):
            yield key_at((self.rank + i * self.world_size) % self.length)

    def _keys(self) -> Callable[[int], SampleKey]:
        """From a place in the epoch to the key."""
        epoch = self.epoch
        if not self.shuffle:
            return lambda place: SampleKey(epoch, place)
        if self.blocks is None:
            order = full_order(self.length, self.seed, epoch)
            return lambda place: SampleKey(epoch, order(place))
        of_a, of_b = (repeated_order(blocks, self.seed, epoch, n) for n, blocks in enumerate(self.blocks))
        if not self.paired:
            return lambda place: SampleKey(epoch, place, (of_a(place), of_b(place)))
        pairs = int(self.blocks[0].ends[-1])
        return lambda place: SampleKey(epoch, place // pairs * pairs + of_a(place))


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
