"""Reading back what W&B has written about a run."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32768
"""Bytes of the file's own header, and of the blocks that records are cut at, as in LevelDB's log format."""


@dataclass
class WandbFile:
    """What a run-*.wandb file says; `history` holds one dict per row, media as their descriptions."""

    folder: Path
    id: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    artifacts: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def images(self) -> list[tuple[str, Path]]:
        """The pictures that were logged, by the names that they were logged under."""
        return [
            (name, self.folder / "files" / value["path"])
            for row in self.history
            for name, value in row.items()
            if isinstance(value, dict) and value.get("_type") == "image-file"
        ]


def read_runs(run_dir: Path) -> list[WandbFile]:
    """The W&B runs in the folder of a run, in the order in which they began.

    W&B's service writes the last of a file a moment after the run was finished.
    """
    files = (run_dir / "wandb").glob("*run-*/run-*.wandb")
    paths = sorted(files, key=lambda path: path.parent.name.removeprefix("offline-"))
    runs = []
    for _ in range(100):
        runs = [_read(path) for path in paths]
        if all(run.exit_code is not None for run in runs):
            break
        time.sleep(0.1)
    return runs


def _read(path: Path) -> WandbFile:
    found = WandbFile(path.parent)
    for content in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.id, found.group, found.job_type = run.run_id, run.run_group, run.job_type
            found.name, found.tags = run.display_name, tuple(run.tags)
            found.config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            found.config |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key}
        elif kind == "history":
            found.history.append(_row(record.history.item))
        elif kind == "metric":
            found.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "alert":
            found.alerts.append((record.alert.title, record.alert.text))
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
        elif kind == "request" and record.request.HasField("log_artifact"):
            artifact = record.request.log_artifact.artifact
            files = tuple(entry.path for entry in artifact.manifest.contents)
            found.artifacts.append((artifact.name, tuple(sorted(artifact.aliases)), files))
        elif kind == "artifact":
            files = tuple(entry.path for entry in record.artifact.manifest.contents)
            found.artifacts.append((record.artifact.name, tuple(sorted(record.artifact.aliases)), files))
    return found


def _row(items: Any) -> dict[str, Any]:
    """One row; the parts of what is not a number lie in a dict of their own."""
    row: dict[str, Any] = {}
    for item in items:
        place, (*parents, last) = row, item.nested_key or [item.key]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = json.loads(item.value_json)
    return row


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a file, each put together from its pieces."""
    assert data[:4] in (b":W&B", b"")
    at, pieces = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # too little for another piece: filled up
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        pieces += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last of several
            yield pieces
            pieces = b""
