"""Finds the runs below a folder and reads their files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from patchlight.errors import DataError
from patchlight.trust import read_json, read_yaml

FINISHED, UNFINISHED, UNREADABLE = "finished", "unfinished", "unreadable"

TIMES = ("train_seconds", "processor_seconds")
"""The columns of times.csv that become columns of the curves."""

WEIGHTS = ("last", "best", "untrained")
"""The weights whose figures metrics.json may hold."""


@dataclass(frozen=True, eq=False)
class Run:
    """The files of one run; parts that it did not leave are empty.

    `status` is `finished`, `unfinished`, `unreadable` or what the run's outcome says; only a finished run has figures,
    by weights and then by metric, and `curves`, the columns of metrics.csv as numbers, with those of times.csv.
    """

    folder: Path
    name: str
    status: str
    message: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    alarms: Sequence[Mapping[str, Any]] = ()
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def finished(self) -> bool:
        return self.status == FINISHED

    @property
    def seed(self) -> Any:
        return self.manifest.get("seed", self.config.get("seed"))

    @property
    def samples(self) -> Path:
        return self.folder / "samples"


def collect(folders: Sequence[Path]) -> list[Run]:
    """All runs below some folders, sorted by their path.

    Raises:
        DataError: a folder is missing, there is no run below them, or none of the runs is finished.
    """
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"runs={folder} is no folder: give the folder of a run, of a sweep, or one above them")
    displayed = ", ".join(str(folder) for folder in folders)
    found = sorted({path.resolve(): path for folder in folders for path in _find(folder)}.values())
    if not found:
        raise DataError(
            f"runs={displayed} holds no run: patchlight-train leaves a folder with config.yaml and manifest.json"
        )
    root = Path(os.path.commonpath([path.absolute() for path in folders]))
    runs = [read_run(path, _name(path, root)) for path in found]
    if not any(run.finished for run in runs):
        raise DataError(
            f"runs={displayed} holds no finished run, but {_counted(runs)}; the first is {runs[0].folder}: "
            f"{runs[0].message or runs[0].status}"
        )
    return runs


def read_run(folder: Path, name: str) -> Run:
    """Read one run; damage does not raise, but is named in the run's message."""
    try:
        return _read(folder, name)
    except DataError as error:
        return Run(folder, name, UNREADABLE, str(error))


def _read(folder: Path, name: str) -> Run:
    outcome = _json(folder / "outcome.json", {})
    metrics = _json(folder / "metrics.json", {})
    finished = outcome["status"] == FINISHED if "status" in outcome else bool(metrics)
    status = str(outcome.get("status", FINISHED if finished else UNFINISHED))
    running = "there is no metrics.json yet: it is still running, or it was stopped" if status == UNFINISHED else ""
    config, manifest = folder / "config.yaml", folder / "manifest.json"
    for needed in (config, manifest) if finished else ():
        if not needed.is_file():
            raise DataError(f"{needed} is missing")
    return Run(
        folder=folder,
        name=name,
        status=status,
        message=str(outcome.get("message") or running),
        config=_mapping(config, "all of it", read_yaml(config) if config.is_file() else {}),
        manifest=_manifest(manifest),
        figures=_figures(folder / "metrics.json", metrics) if finished else {},
        protocol=_mapping(folder / "metrics.json", "protocol", metrics.get("protocol") or {}),
        alarms=_json(folder / "alarms.json", []),
        curves=_with_times(_csv(folder / "metrics.csv"), folder / "times.csv") if finished else pd.DataFrame(),
    )


def _find(folder: Path) -> Iterator[Path]:
    """Folders of runs, which have no further runs below them."""
    for place, below, files in os.walk(folder):
        if {"config.yaml", "manifest.json"} <= set(files) or "outcome.json" in files:
            below.clear()
            yield Path(place)
        below.sort()


def _name(path: Path, root: Path) -> str:
    relative = path.absolute().relative_to(root).as_posix()
    return path.absolute().name if relative == "." else relative


def _counted(runs: Sequence[Run]) -> str:
    counts = pd.Series([run.status for run in runs]).value_counts(sort=False)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _json(path: Path, empty: Any) -> Any:
    """The content of a file, which must be of the same type as `empty`; that where there is no file."""
    content = read_json(path) if path.is_file() else empty
    if not isinstance(content, type(empty)) or not (empty == {} or all(isinstance(item, dict) for item in content)):
        raise DataError(f"{path} is damaged: it should hold {'an object' if empty == {} else 'a list of objects'}")
    return content


def _manifest(path: Path) -> Mapping[str, Any]:
    manifest: Mapping[str, Any] = _json(path, {})
    names = ("discriminators", "hardware", "versions", "git")
    parts = {name: _mapping(path, name, manifest.get(name) or {}) for name in names}
    for name, geometry in parts["discriminators"].items():
        _list(path, f"discriminators.{name}.map_size", _mapping(path, f"discriminators.{name}", geometry), "map_size")
    _list(path, "hardware.gpus", parts["hardware"], "gpus")
    return manifest


def _csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    try:
        frame: pd.DataFrame = pd.read_csv(path).apply(pd.to_numeric)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(frame.index, pd.RangeIndex) or "step" not in frame:
        what = "it has no column step" if "step" not in frame else "its rows have more cells than it has columns"
        raise DataError(f"{path} is damaged: {what}")
    return frame[frame["step"].notna()]


def _with_times(curves: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The curves with the seconds that the run had trained at each row, in columns `time/...`, if it recorded them.

    Both files count the images seen; between two rows of `times.csv` time passes evenly.
    """
    times = _csv(path)
    if times.empty or "images_seen" not in curves:
        return curves
    lacking = sorted({"images_seen", *TIMES} - set(times))
    if lacking:
        raise DataError(f"{path} is damaged: it has no column {lacking[0]}")
    curves = curves.sort_values("step", kind="stable")
    # Rows of a validation may lack the number: it is that of the batch before.
    seen = curves["images_seen"].ffill().fillna(0)
    known = [0.0, *times["images_seen"]]
    return curves.assign(**{f"time/{name}": np.interp(seen, known, [0.0, *times[name]]) for name in TIMES})


def _figures(path: Path, metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for weights in WEIGHTS:
        figures[weights] = {}
        for metric, value in _mapping(path, weights, metrics.get(weights) or {}).items():
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                raise DataError(f"{path} is damaged: {weights}.{metric} is {value!r}, not a number")
            # JSON has no word for what is not a number.
            figures[weights][metric] = math.nan if value is None else float(value)
    return figures


def _list(path: Path, part: str, values: Mapping[str, Any], key: str) -> None:
    if not isinstance(values.get(key, []), list):
        raise DataError(f"{path} is damaged: {part} should be a list")


def _mapping(path: Path, part: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: {part} should be names with values")
    return value
