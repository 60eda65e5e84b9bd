"""The order of an epoch: any permutation of a set, or for a set in shards one that needs few of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Order = Callable[[int], int]
"""From a place in the epoch to the number of an image."""


class Blocks(NamedTuple):
    """Runs of images that are fetched together, such as the shards of a set, of which `window` are needed at a time.

    `ends` are the numbers of images up to the end of each block, after a 0.
    """

    ends: NDArray[np.int64]
    window: int

    def within(self, indices: Sequence[int] | NDArray[np.int64]) -> Blocks:
        """What is left of the blocks where only some images are, whose numbers rise."""
        if isinstance(indices, range):
            return Blocks(np.unique(np.clip(self.ends, indices.start, indices.stop) - indices.start), self.window)
        return Blocks(np.unique(np.searchsorted(np.asarray(indices), self.ends)).astype(np.int64), self.window)


def _generator(seed: int, epoch: int, *stream: int) -> np.random.Generator:
    # A key of its own keeps these streams apart from the samples': seeds are padded with zeros.
    return np.random.default_rng(np.random.SeedSequence([seed, epoch], spawn_key=(1, *stream)))


def full_order(length: int, seed: int, epoch: int) -> Order:
    """A permutation of all images, each as likely as the other."""
    order = _generator(seed, epoch).permutation(length)
    return lambda place: int(order[place])


def block_order(blocks: Blocks, seed: int, epoch: int, *stream: int) -> Order:
    """Blocks in any order, and within each `window` of them, one window after the other, images in any order.

    The order is a function of seed, epoch and the blocks; any place of it is found in the time and memory that one
    window takes. `stream` tells orders apart that share seed and epoch.
    """
    sizes = np.diff(blocks.ends)
    shuffled = _generator(seed, epoch, 1, *stream).permutation(len(sizes))
    window_begins = np.arange(0, len(sizes), blocks.window)
    lengths = np.add.reduceat(sizes[shuffled], window_begins)
    places = np.concatenate([[0], np.cumsum(lengths)])

    @lru_cache(maxsize=2)
    def images_of(window: int) -> NDArray[np.int64]:
        chosen = shuffled[window * blocks.window : (window + 1) * blocks.window]
        images = np.concatenate([np.arange(blocks.ends[block], blocks.ends[block + 1]) for block in chosen])
        return _generator(seed, epoch, 2, *stream, window).permutation(images)

    def image_at(place: int) -> int:
        window = int(np.searchsorted(places, place, side="right")) - 1
        return int(images_of(window)[place - places[window]])

    return image_at


def repeated_order(blocks: Blocks, seed: int, epoch: int, stream: int) -> Order:
    """`block_order` again and again, each time another one: of places beyond the number of images."""
    length = int(blocks.ends[-1])
    of_round = lru_cache(maxsize=2)(lambda number: block_order(blocks, seed, epoch, stream, number))
    return lambda place: of_round(place // length)(place % length)
