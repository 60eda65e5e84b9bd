"""Fetch one object, as a process of its own: `python fetch_object.py FOLDER_URL NAME TARGET LIMIT`.

The library that speaks to object stores runs threads, which a process that is forked later does not have: it would wait
for them without end. So neither a training nor its workers load it. The last line of output is JSON: nothing, or an
`error` and whether another attempt may succeed (`transient`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 4 << 20

PERMANENT = frozenset({
    "NotFoundError", "FileNotFoundError", "PermissionDeniedError", "UnauthenticatedError", "InvalidPathError",
    "NotSupportedError", "UnknownConfigurationKeyError",
})  # fmt: skip
"""Errors of the library after which another attempt would fail in the same way."""


def fetch(folder: str, name: str, target: Path, limit: int) -> dict[str, Any]:
    """Write an object to `target`, no more than `limit` bytes of it; returns what went wrong."""
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        return {"error": "it needs obstore: pip install 'patchlight[shards]'", "transient": False}
    try:
        # A stalled connection ends by `read_timeout`; a slow one may take as long as it needs.
        store = from_url(
            folder,
            client_options={
                "allow_http": folder.startswith("http://") or _plain_endpoint(),
                "connect_timeout": timedelta(seconds=10),
                "read_timeout": timedelta(seconds=20),
                "timeout": timedelta(hours=12),
            },
            retry_config={"max_retries": 0},
        )
        with _open_whole(target) as file:
            return _receive(obstore.get(store, name).stream(min_chunk_size=CHUNK), file, limit)
    except Exception as error:  # obstore's errors, and those of its dependencies, have no common ancestor
        return {"error": _reason(error), "transient": type(error).__name__ not in PERMANENT}


def _open_whole(path: Path) -> BinaryIO:
    """Open a file to write, or make it; it keeps its size, which is the room that is reserved for it."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags & ~os.O_TRUNC, 0o666))


def _receive(chunks: Iterable[Any], file: BinaryIO, limit: int) -> dict[str, Any]:
    """Write at most `limit` bytes, and cut the file to them once all are there; returns what went wrong."""
    written = 0
    for chunk in chunks:
        written += len(chunk)
        if written > limit:
            return {"error": f"it is larger than the {limit} bytes that it should have", "transient": True}
        try:
            file.write(chunk)
        except OSError as error:  # apart from obstore's errors, of which some are of this class
            return _unwritable(error)
    try:
        file.truncate()
    except OSError as error:
        return _unwritable(error)
    return {}


def _unwritable(error: OSError) -> dict[str, Any]:
    return {"error": f"the disk cannot be written ({error.strerror or error})", "transient": False}


def _plain_endpoint() -> bool:
    """Whether the environment names an endpoint without encryption, as that of a store on this machine."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "GOOGLE_BASE_URL")
    return any(os.environ.get(name, "").startswith("http://") for name in names)


def _reason(error: Exception) -> str:
    """The first line that says something, without debugging details, in which keys could stand."""
    kind = {
        "NotFoundError": "it is not there",
        "FileNotFoundError": "it is not there",
        "PermissionDeniedError": "access is denied",
        "UnauthenticatedError": "access is denied without valid credentials",
    }.get(type(error).__name__)
    if kind is not None:
        return kind
    text = " ".join(str(error).split("Debug source:")[0].split())
    if "error sending request" in text or "onnect" in text:
        return "the server cannot be reached"
    if "imed out" in text or "imeout" in text:
        return "the server does not answer in time"
    status = next((word for word in text.split() if word.isdigit() and len(word) == 3), None)
    return f"the server answers {status}" if status else "the transfer broke off"


if __name__ == "__main__":
    print(json.dumps(fetch(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
