"""Fetching one large file over HTTP: what has arrived is kept, and a dropped or stopped download goes on from there."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from patchlight import __version__
from patchlight.errors import DataError

CHUNK = 1 << 18
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be gone a moment later."""

Report = Callable[[int, int | None], None]
"""Is called with the bytes that are there and, where the server told, the bytes of the whole file."""


@dataclass(frozen=True)
class Remote:
    """The headers of the file at the beginning of its download; a file that has changed since is fetched anew."""

    url: str
    validator: str | None
    size: int | None


class TransientError(Exception):
    """The connection failed in a way that another attempt may get past."""


def fetch(*, url: str, target: Path, report: Report, attempts: int, pause: float, timeout: float) -> None:
    """Fetch `url` into `target`, by way of `target` + `.part`, which a later call continues.

    `attempts` counts those in a row that brought nothing new; between them lie `pause`, twice `pause`, ... seconds.
    `timeout`, in seconds, is for one wait on the network.

    Raises:
        DataError: the server does not have the file or cannot be reached, or the disk is too small.
    """
    part = target.with_name(target.name + ".part")
    most, failures = 0, 0
    while True:
        try:
            _continue(url=url, part=part, report=report, timeout=timeout)
            break
        except TransientError as error:
            arrived = part.stat().st_size if part.exists() else 0
            failures = 0 if arrived > most else failures + 1
            most = max(most, arrived)
            if failures >= attempts:
                raise DataError(
                    f"{url}: {error}, {attempts} times in a row. Check the network connection (or name another server "
                    "with --mirror) and run the same command again: it goes on from what has arrived."
                ) from None
            time.sleep(pause * 2 ** max(failures - 1, 0))
    part.replace(target)
    _notes(part).unlink(missing_ok=True)


def _continue(*, url: str, part: Path, report: Report, timeout: float) -> None:
    """One attempt: ask for what is missing and append it, or start again where the server has no part to give."""
    known = _read_notes(part, url)
    done = part.stat().st_size if known is not None else 0
    if known is not None and done == known.size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": f"patchlight/{__version__}"})
    if known is not None and done:
        request.add_header("Range", f"bytes={done}-")
        if known.validator is not None:
            request.add_header("If-Range", known.validator)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if known is not None and not _continues(response, known, done):
                known = None
            if known is None:
                done = 0
                known = _begin(response, part, url)
            _require_space(part.parent, known.size, done)
            _receive(response, part, done, known.size, report)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # there is nothing after `done` bytes: they belong to another file
            part.unlink(missing_ok=True)
            raise TransientError("the file on the server has changed") from None
        if error.code in TRANSIENT:
            raise TransientError(f"the server answers {error.code} {error.reason}") from None
        raise DataError(
            f"{url}: the server answers {error.code} {error.reason}. The set may have moved: fetch it by hand, or name "
            "a server that has it with --mirror."
        ) from None
    except urllib.error.URLError as error:
        raise TransientError(f"{urlsplit(url).hostname} cannot be reached ({error.reason})") from None
    except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
        raise TransientError(f"the connection was lost ({error or type(error).__name__})") from None


def _continues(response: http.client.HTTPResponse, known: Remote, done: int) -> bool:
    """Whether the answer is the missing rest of the same file, and not the whole of it or the rest of another one."""
    if response.status != 206:
        return False
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    same_size = match is not None and (known.size is None or match[2] in ("*", str(known.size)))
    if match is None or int(match[1]) != done or not same_size:
        raise TransientError("the server sent another part than the one that was asked for")
    return True


def _begin(response: http.client.HTTPResponse, part: Path, url: str) -> Remote:
    etag, length = response.headers.get("ETag"), response.headers.get("Content-Length")
    # A weak tag promises equal meaning, not equal bytes: parts must not be joined by it.
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    remote = Remote(url=url, validator=validator, size=int(length) if length and length.isdigit() else None)
    part.write_bytes(b"")
    _notes(part).write_text(json.dumps(asdict(remote)), encoding="utf-8")
    return remote


def _receive(response: http.client.HTTPResponse, part: Path, done: int, size: int | None, report: Report) -> None:
    report(done, size)
    with part.open("ab") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done, size)
    if size is not None and done < size:
        raise TransientError(f"the connection was lost after {done:,} of {size:,} bytes")


def _require_space(folder: Path, size: int | None, done: int) -> None:
    """Images hardly compress: the archive and what is unpacked from it take about the same room."""
    free = shutil.disk_usage(folder).free
    needed = 0 if size is None else size - done + size
    if needed > free:
        raise DataError(
            f"{folder}: the set needs {needed / 1e9:.1f} GB (archive and images) and {free / 1e9:.1f} GB are free. "
            "Make room, or choose another folder with --root."
        )


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_notes(part: Path, url: str) -> Remote | None:
    """The record of an earlier, unfinished download of the same address, if it can be verified."""
    if not part.is_file() or not _notes(part).is_file():
        return None
    try:
        remote = Remote(**json.loads(_notes(part).read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None
    # Without either, nothing would show that the rest belongs to another file than the beginning.
    verifiable = remote.validator is not None or remote.size is not None
    return remote if remote.url == url and verifiable else None
