"""Decoded images in memory, shared by all worker processes and epochs."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from patchlight.data.images import Array
from patchlight.system.devices import available_memory

SHARE = 4
"""`auto` is one part in so many of the memory that is available."""

ABSENT, TAKEN, READY = 0, 1, 2
"""States of an image in the table: not here, being written by some process, readable."""

PATIENCE = 5.0
"""Seconds to wait for another process, which may have died while it held the lock."""


def budget(cache: float | Literal["auto"], sharers: int) -> int:
    """The bytes of a setting of `data.cache`, for one of the processes of this machine that share it."""
    total = available_memory() // SHARE if cache == "auto" else int(cache * 2**30)
    return total // sharers


class Arena:
    """A block of memory of which images take what they need, and which processes that are forked later share.

    Pages that nothing was written to take no room. Pickled, as for processes that are started anew, it is replaced by
    an empty one for that process alone, with its part of the budget: one in `processes`. The memory is given back when
    the last process drops the last object that refers to it.
    """

    def __init__(self, size: int, processes: int = 1) -> None:
        self.size = size
        self.processes = max(processes, 1)
        self._used = np.zeros(1, np.int64)
        self._patience = PATIENCE
        if size:
            try:
                self._block = np.frombuffer(mmap.mmap(-1, size), np.uint8)
                self._used = np.frombuffer(mmap.mmap(-1, 8), np.int64)
                self._lock = get_context("fork" if sys.platform == "linux" else None).Lock()
            except (OSError, OverflowError):  # the system does not hand out memory that may never be used
                self.size = 0

    def __reduce__(self) -> tuple[type[Arena], tuple[int]]:
        return Arena, (self.size // self.processes,)

    @property
    def used(self) -> int:
        """Bytes that hold images."""
        return int(self._used[0])

    def table(self, rows: int) -> NDArray[np.int64]:
        """Zeros, rows x 4, shared in the same way."""
        if not self.size or not rows:
            return np.zeros((rows, 4), np.int64)
        return np.frombuffer(mmap.mmap(-1, rows * 32), np.int64).reshape(rows, 4)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Says whether this process alone is here; what others did here before can be seen then, on any processor."""
        if not self._lock.acquire(timeout=self._patience):
            self._patience = 0.0  # whoever has it is dead: nobody waits for it again
            yield False
            return
        try:
            yield True
        finally:
            self._lock.release()

    def take(self, row: NDArray[np.int64], size: int) -> int | None:
        """Where `size` bytes begin that now belong to the image of this row of a table.

        None if there is no room, or the image has its place already.
        """
        if self.used + size > self.size:
            return None
        with self.locked() as alone:
            begin = self.used
            if not alone or row[0] != ABSENT or begin + size > self.size:
                return None
            self._used[0] = begin + size
            row[0] = TAKEN
            return begin

    def bytes(self, begin: int, size: int) -> Array:
        """Part of the block; only the process that took it may write to it."""
        return self._block[begin : begin + size]


class ImageCache:
    """The images of a set, each as one or several 8-bit H W C arrays of the same height and width.

    `channels` are those of each array. Images that find no room in the arena are not kept. No process waits for
    another to decode: an image that is just being written by one is read from its file by the others.
    """

    def __init__(self, arena: Arena, length: int, channels: Sequence[int]) -> None:
        self.arena = arena
        self.channels = tuple(channels)
        self._table = arena.table(length)
        self._seen = bytearray(length)

    def __reduce__(self) -> tuple[type[ImageCache], tuple[Arena, int, tuple[int, ...]]]:
        return ImageCache, (self.arena, len(self._table), self.channels)

    def get(self, index: int) -> list[Array] | None:
        """The arrays of an image, which must not be written to, or None."""
        row = self._table[index]
        if not self._seen[index] and not self._see(index):
            return None
        return self._arrays(*row[1:].tolist())

    def _see(self, index: int) -> bool:
        """Whether an image is complete for this process, which the lock settles once for each image.

        Without it a processor that writes or reads out of order, as those of Arm do, might show the mark before the
        image.
        """
        if self._table[index, 0] != READY:
            return False
        with self.arena.locked() as alone:
            self._seen[index] = alone
        return alone

    def put(self, index: int, arrays: Sequence[Array]) -> bool:
        """Keep an image if there is room; says whether this process has done so."""
        row = self._table[index]
        if not self.arena.size or row[0] != ABSENT:
            return False
        height, width = arrays[0].shape[:2]
        begin = self.arena.take(row, height * width * sum(self.channels))
        if begin is None:
            return False
        row[1:] = begin, height, width
        for place, array in zip(self._arrays(begin, height, width), arrays, strict=True):
            place[:] = array
        with self.arena.locked() as alone:  # see `_see`
            if alone:
                row[0] = READY
                self._seen[index] = True
        return alone

    def _arrays(self, begin: int, height: int, width: int) -> list[Array]:
        arrays = []
        for channels in self.channels:
            size = height * width * channels
            arrays.append(self.arena.bytes(begin, size).reshape(height, width, channels))
            begin += size
        return arrays
