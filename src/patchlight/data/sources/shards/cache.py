"""Shards on the local disk, in a folder that all processes of the machine share and that has a largest size."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from patchlight.data.sources.shards.index import Shard
from patchlight.data.sources.shards.location import Location
from patchlight.errors import DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".shard"
PART = ".part"
"""Shards that are being fetched; they have their whole size from the beginning."""
OWN = re.compile(rf"[0-9a-f]{{40}}({re.escape(SUFFIX)}|{re.escape(PART)})")
"""The names of this cache's files; others of the folder are neither counted nor taken away."""
LOCKS = "locks"
"""The folder of empty files, one for each shard that was ever here."""


class ShardCache:
    """Fetched shards, named by their checksums; those that were not used for longest go where there is no room.

    The sizes of all its files, of unfinished ones too, never sum to more than `limit` bytes. Locks are those of files,
    which end with their process. A process that reads a shard while it is taken away keeps it open until it notices.
    """

    def __init__(self, folder: Path, limit: int, location: Location) -> None:
        self.folder, self.limit, self.location = folder, limit, location

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            DataError: it cannot be made or written.
        """
        try:
            (self.folder / LOCKS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"data.source.cache_dir={self.folder} cannot be made ({error.strerror})") from None
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise DataError(f"data.source.cache_dir={self.folder} is not writable: choose another folder")

    def path(self, shard: Shard) -> Path:
        """The place of a shard, which may not be there."""
        return self.folder / f"{shard.sha256[:40]}{SUFFIX}"

    def get(self, shard: Shard) -> Path:
        """The path of a shard, which is fetched if it is not there. It may be gone again before it is opened.

        Raises:
            DataError: it cannot be fetched, its checksum is wrong, it is larger than the cache, or the disk is full.
        """
        path = self.path(shard)
        if self.touch(path):
            return path
        if shard.bytes > self.limit:
            raise DataError(
                f"data.source.cache_gb={self.limit / 2**30:g} is too small for {shard.file}: give at least "
                f"{shard.bytes / 2**30:.3g}"
            )
        try:
            # One process fetches a shard; the others wait for it here.
            with self._lock(path):
                if self.touch(path):
                    return path
                part = path.with_suffix(PART)
                try:
                    self._reserve(part, shard.bytes)
                    self.location.fetch(shard.file, part, shard.bytes, shard.sha256)
                    part.replace(path)
                finally:
                    part.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"data.source.cache_dir={self.folder} cannot hold {shard.file} ({reason})") from None
        return path

    def drop(self, shard: Shard) -> None:
        """Take a shard away that turned out to be damaged."""
        self.path(shard).unlink(missing_ok=True)

    def touch(self, path: Path) -> bool:
        """Whether a shard is there, which counts as its last use."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # of another user
            return path.is_file()
        return True

    def _reserve(self, part: Path, size: int) -> None:
        """Make room for a shard, by taking away others, and take the room.

        What is just being fetched is not taken away; where that leaves no room, this waits for it to be whole.
        """
        while True:
            with self._lock_named("all"):
                part.unlink(missing_ok=True)  # of a process that has been killed
                if self._make_room(size):
                    with part.open("wb") as file:
                        file.truncate(size)
                    return
            time.sleep(0.1)

    def _make_room(self, size: int) -> bool:
        whole, used = [], 0
        for path in self.folder.iterdir():
            if OWN.fullmatch(path.name) is None:
                continue
            with suppress(FileNotFoundError):
                found = path.stat()
                used += found.st_size
                if path.suffix == SUFFIX:
                    whole.append((found.st_mtime_ns, path, found.st_size))
                elif self._is_abandoned(path):
                    path.unlink(missing_ok=True)
                    used -= found.st_size
        for _, path, its_size in sorted(whole):
            if used + size <= self.limit:
                break
            path.unlink(missing_ok=True)
            used -= its_size
        return used + size <= self.limit

    def _lock(self, path: Path) -> BaseFileLock:
        """The lock of the process that fetches a shard."""
        return self._lock_named(path.stem)

    def _lock_named(self, name: str) -> BaseFileLock:
        from filelock import FileLock  # takes a tenth of a second of a start

        return FileLock(self.folder / LOCKS / f"{name}.lock")

    def _is_abandoned(self, part: Path) -> bool:
        """Whether nobody fetches an unfinished shard any more."""
        from filelock import Timeout

        try:
            with self._lock(part).acquire(blocking=False):
                return True
        except Timeout:
            return False
