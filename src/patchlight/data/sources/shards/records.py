"""The records of shards: reading single ones of any shard."""

from __future__ import annotations

import os
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from patchlight.data.sources.shards.cache import ShardCache
from patchlight.data.sources.shards.index import INDEX, Part
from patchlight.data.sources.shards.location import Location
from patchlight.errors import DataError

OPEN = 16
"""Shards of a part that a process keeps open: more would hold room on the disk that the cache has given to others."""

READ = "readahead_buffer_size:0,max_parallelism:0"
"""One record at a time and no threads, which a process that is forked later would not have."""


class DamagedError(Exception):
    """A shard on this disk is not as it was written."""


def array_record() -> Any:
    """The module that reads and writes shards.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module("array_record.python.array_record_module")
    except ImportError:
        raise DataError("sets in shards need array-record: pip install 'patchlight[shards]'") from None


class ShardReader:
    """The records of the shards of a part, by entry and place in it; each process opens shards itself.

    Threads may share one: they read one after the other.
    """

    def __init__(self, part: Part, location: Location, cache: ShardCache | None) -> None:
        self.part, self.location, self.cache = part, location, cache
        self.ends = np.cumsum([0, *(shard.images for shard in part.shards)], dtype=np.int64)
        self.images = 2 if part.holds == "pairs" else 1
        self.records = self.images + part.conditions
        self._opened: OrderedDict[int, tuple[Path, Any]] = OrderedDict()
        self._pid = os.getpid()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"} | {"_opened": OrderedDict()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def place(self, index: int) -> tuple[int, int]:
        """The shard of an entry, and its place there."""
        shard = int(np.searchsorted(self.ends, index, side="right")) - 1
        return shard, index - int(self.ends[shard])

    def key(self, index: int) -> str:
        """The name of an entry: its shard and its place there."""
        shard, place = self.place(index)
        return f"{self.location.path_of(self.part.shards[shard].file)}#{place}"

    def read(self, index: int) -> list[bytes]:
        """The encoded images of an entry, and then its conditions, if it has some.

        Raises:
            DataError: the shard cannot be fetched, is missing or is damaged.
        """
        shard, place = self.place(index)
        wanted = [place * self.records + i for i in range(self.records)]
        with self._lock:
            return self._read_whole(shard, wanted)

    def _read_whole(self, shard: int, wanted: list[int]) -> list[bytes]:
        """The records of these numbers, for which a damaged copy is fetched once more."""
        try:
            return self._read(shard, wanted)
        except DamagedError as error:
            if self.cache is None:
                raise self._told(shard, error) from None
        # The copy on this disk is damaged: it is fetched once more.
        self.cache.drop(self.part.shards[shard])
        try:
            return self._read(shard, wanted)
        except DamagedError as error:
            raise self._told(shard, error) from None

    def _read(self, shard: int, wanted: list[int]) -> list[bytes]:
        """The records of these numbers.

        Raises:
            DamagedError: the shard is not what the index says, or a record's checksum is wrong.
            DataError: it cannot be fetched, or is missing.
        """
        reader = self._open(shard)
        try:
            return list(reader.read(wanted))
        except (RuntimeError, ValueError, IndexError) as error:
            self._close(shard)
            raise DamagedError(" ".join(str(error).split())[:120]) from None

    def _open(self, number: int) -> Any:
        if self._pid != os.getpid():
            self._opened, self._pid = OrderedDict(), os.getpid()
        found = self._opened.get(number)
        if found is not None and (self.cache is None or self.cache.touch(found[0])):
            self._opened.move_to_end(number)
            return found[1]
        self._close(number, *(n for n, (path, _) in self._opened.items() if not path.exists()))
        while len(self._opened) >= OPEN:
            self._close(next(iter(self._opened)))
        self._opened[number] = self._reader(number)
        return self._opened[number][1]

    def _reader(self, number: int) -> tuple[Path, Any]:
        shard = self.part.shards[number]
        path = self.location.folder / shard.file if self.cache is None else self.cache.get(shard)
        try:
            size = path.stat().st_size
            if size != shard.bytes:
                raise DamagedError(f"it has {size} bytes where {INDEX} says {shard.bytes}")
            reader = array_record().ArrayRecordReader(str(path), READ, file_reader_buffer_size=1 << 15)
        except (RuntimeError, ValueError) as error:
            raise DamagedError(" ".join(str(error).split())[:120]) from None
        except FileNotFoundError:
            if self.cache is not None:  # taken away by another process since
                return self._reader(number)
            raise DataError(f"{path} is missing, though {INDEX} names it") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error})") from None
        if reader.num_records() != shard.images * self.records:
            raise DamagedError(f"it has {reader.num_records()} records, which is not {INDEX}'s number")
        return path, reader

    def _close(self, *numbers: int) -> None:
        for number in numbers:
            if number in self._opened:
                self._opened.pop(number)[1].close()

    def _told(self, number: int, error: DamagedError) -> DataError:
        path = self.location.path_of(self.part.shards[number].file)
        return DataError(f"{path} is damaged ({error}): write or copy it anew")
