"""Where a sharded set lies, a folder or an address, and its files: fetched with retries, and verified."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from patchlight.data.sources.shards import fetch_object
from patchlight.errors import DataError

SCHEMES = ("s3", "gs", "http", "https")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Between attempts: doubled from the first to the longest."""


SERVER = re.compile(r"([^:@\[\]]*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
"""A bucket or server, and its port."""

ELSEWHERE = (
    "give them in the environment (AWS_ACCESS_KEY_ID ..., GOOGLE_APPLICATION_CREDENTIALS), and the plain address here"
)


def is_address(root: str) -> bool:
    """Whether a set is not on this machine."""
    return root.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


@dataclass(frozen=True)
class Location:
    """The folder or address of a set; `retry_s` seconds are spent on further attempts before a file is given up."""

    root: str
    retry_s: float

    def __post_init__(self) -> None:
        parts = _split(self.root) if self.is_remote else None
        if parts is None:
            if (other := re.match(r"^[a-z][a-z0-9+.-]+://", self.root)) is not None:
                known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
                raise DataError(f"data.root={other[0]}... is of no known kind: give a folder, or one of {known}")
        elif parts.username or parts.password or parts.query or parts.fragment:
            # Not repeated: the root is written into configurations, checkpoints and logs.
            raise DataError(
                f"data.root has credentials, a query or a fragment in its address of {parts.hostname}: {ELSEWHERE}"
            )
        elif not parts.hostname:
            raise DataError(f"data.root={self.root} names no bucket or server")

    @property
    def is_remote(self) -> bool:
        """Whether files have to be fetched."""
        return is_address(self.root)

    def path_of(self, name: str) -> str:
        """What messages call a file."""
        return f"{self.root.rstrip('/')}/{name}" if self.is_remote else str(self.folder / name)

    @property
    def folder(self) -> Path:
        """The folder of a set on a disk."""
        return Path(self.root).expanduser()

    def fetch(self, name: str, target: Path, size: int, sha256: str | None = None) -> None:
        """Fetch a file to `target`, again and again until it is whole; `size` is what it has, or at most has.

        Raises:
            DataError: it is not there, is not readable, or does not come whole in time.
        """
        give_up, pause, attempts = time.monotonic() + self.retry_s, FIRST_PAUSE_S, 0
        while True:
            attempts += 1
            wrong = self._attempt(name, target, size, sha256)
            if wrong is None:
                return
            reason, transient = wrong
            if not transient:
                raise DataError(f"{self.path_of(name)} cannot be fetched: {reason}")
            if time.monotonic() + pause > give_up:
                times = f"{attempts} attempt{'s' * (attempts > 1)} in {self.retry_s:g} s"
                raise DataError(
                    f"{self.path_of(name)} cannot be fetched: {reason} ({times}; data.source.retry_s sets how long)"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _attempt(self, name: str, target: Path, size: int, sha256: str | None) -> tuple[str, bool] | None:
        """Fetch once; what went wrong, and whether another attempt may succeed."""
        # -P: modules beside the script must not stand in for others of the same name.
        command = [sys.executable, "-P", fetch_object.__file__, self.root, name, str(target), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            return f"its process ended with {done.returncode}", True
        if answer:
            return answer["error"], answer["transient"]
        wrong = None if sha256 is None else _difference(target, size, sha256)
        if wrong is not None:
            os.truncate(target, size)  # the room stays taken for another attempt
        return wrong


def _split(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        DataError: its server cannot be told from credentials, as where a secret holds a "/"; nothing of it is repeated.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        raise DataError(f"data.root is an address that cannot be read; if it has credentials, {ELSEWHERE}") from None
    after = address.partition("://")[2].removeprefix(parts.netloc)
    server = parts.netloc.rpartition("@")[2]
    if ":" in parts.netloc and ("@" in after or SERVER.fullmatch(server) is None):
        raise DataError(f"data.root has credentials in its address, or a port that is no number: {ELSEWHERE}")
    return parts


def _difference(path: Path, size: int, sha256: str) -> tuple[str, bool] | None:
    if (found := path.stat().st_size) != size:
        return f"it has {found} bytes where the index says {size}", True
    return None if digest(path) == sha256 else ("its checksum is not that of the index", True)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_small(location: Location, name: str, scratch: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes; one that is fetched comes by way of `scratch`.

    Raises:
        DataError: it is not there, is larger or cannot be read.
    """
    try:
        if not location.is_remote:
            with (location.folder / name).open("rb") as file:
                content = file.read(limit + 1)
            if len(content) > limit:
                raise DataError(f"{location.path_of(name)} is larger than the {limit} bytes that it may have")
            return content
        target = scratch / f".{os.getpid()}.{name}"
        try:
            location.fetch(name, target, limit)
            return target.read_bytes()
        finally:
            target.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{location.path_of(name)} cannot be read ({error.strerror or error})") from None
