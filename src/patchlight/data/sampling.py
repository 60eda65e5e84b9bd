"""Which image comes when, and the randomness of each: pure functions of seed, epoch and index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


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
        self.length = length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.pad = pad
        self.epoch = epoch
        self.skip = skip

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.skip = 0
        self.epoch = epoch

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
