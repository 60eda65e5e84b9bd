"""A cleaned copy of a set: what cannot be used left out, what training would change anyway changed for good."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from patchlight.data.images import read_image
from patchlight.diagnosis.diagnose import Diagnosis, channels_of_domains
from patchlight.diagnosis.labels import snap
from patchlight.diagnosis.reading import Facts
from patchlight.errors import ConfigError, DataError, printable
from patchlight.system.files import write_json

LEFT_OUT = (
    "empty_file", "unreadable", "truncated", "too_large", "partner", "pair_size", "odd_width", "too_small",
)  # fmt: skip
"""Checks whose files are not in the copy, and neither are their partners."""

REWRITTEN = ("label_drift", "bit_depth", "value_range", "mode", "alpha", "frames", "orientation", "palette")
"""Checks whose files are written anew, as training reads them."""


@dataclass(frozen=True)
class Change:
    """A file that is left out, or rewritten to `place` below the folder, by its name there; `reasons` are checks."""

    file: str
    reasons: tuple[str, ...]
    place: Path | None = None

    @property
    def deed(self) -> Literal["left out", "rewritten"]:
        return "left out" if self.place is None else "rewritten"

    @property
    def becomes(self) -> str | None:
        """The name of the rewritten file."""
        return None if self.place is None else printable(self.place.as_posix())


def check_target(fix: Path, root: Path) -> None:
    """Refuse a folder that the copy must not go to.

    Raises:
        ConfigError: it is the set itself, within it or around it, or holds something.
    """
    target, source = _resolved(fix), _resolved(root)
    if target == source or target.is_relative_to(source):
        raise ConfigError(
            f"fix={printable(fix)} is within data={printable(root)}, which is never changed: choose another folder"
        )
    if source.is_relative_to(target):
        raise ConfigError(f"fix={printable(fix)} holds data={printable(root)}: choose another folder")
    try:
        if os.path.lexists(fix) and (not os.path.isdir(fix) or any(fix.iterdir())):
            raise ConfigError(f"fix={printable(fix)} is there and not empty: choose a new folder for the copy")
    except OSError as error:
        raise ConfigError(f"fix={printable(fix)} cannot be read ({error.strerror}): choose another folder") from None


def _resolved(path: Path) -> Path:
    """`Path.resolve` raises an error of its own where links go in circles."""
    return Path(os.path.realpath(path))


def write_copy(diagnosis: Diagnosis, fix: Path, tolerance: int, advance: Callable[[], None]) -> list[Change]:
    """Write the cleaned copy, and what was changed as changes.json in it. It appears in one piece or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    changes = {change.file: change for change in _plan(diagnosis)}
    root, target = diagnosis.stock.root, _resolved(fix)
    part = target.with_name(f".patchlight-{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        usual = {domain: kinds.most_common(1)[0][0] for domain, kinds in channels_of_domains(diagnosis.facts).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about what has been found
            for f in diagnosis.facts:
                change = changes.get(f.item.name)
                place = f.item.path.relative_to(root) if change is None else change.place
                if place is not None:
                    (part / place).parent.mkdir(parents=True, exist_ok=True)
                    if change is None:
                        shutil.copyfile(f.item.path, part / place)
                    else:
                        _as_trained(f, diagnosis, usual[f.item.domain], tolerance).save(part / place, "PNG")
                advance()
        content = [
            {"file": c.file, "deed": c.deed, "reasons": list(c.reasons), "becomes": c.becomes} for c in changes.values()
        ]
        write_json(part / "changes.json", {"version": 1, "data": printable(root.resolve()), "changes": content})
        part.replace(target)
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else printable(str(error))
        raise ConfigError(
            f"fix={printable(fix)} could not be written ({reason}), and nothing is left of it: choose a folder "
            f"with room"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return list(changes.values())


def _plan(diagnosis: Diagnosis) -> Iterator[Change]:
    """The change of each file that is not simply copied."""
    out = _left_out(diagnosis)
    why: dict[str, list[str]] = defaultdict(list)
    for finding in diagnosis.findings:
        if finding.check in REWRITTEN:
            for name in finding.files:
                why[name].append(finding.check)
    names = {f.item.name for f in diagnosis.facts}
    for f in diagnosis.facts:
        name = f.item.name
        if name in out:
            yield Change(name, tuple(dict.fromkeys(out[name])))
        elif name in why:
            yield Change(name, tuple(dict.fromkeys(why[name])), _place(f, diagnosis.stock.root, names))


def _left_out(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """The files that are left out, and why; a partner of such a file has none any more."""
    out: dict[str, list[str]] = defaultdict(list)
    splits = {f.item.name: f.item.split for f in diagnosis.facts}
    for finding in diagnosis.findings:
        for name in finding.files:
            if finding.check in LEFT_OUT or (finding.check == "leak" and splits[name] == "train"):
                out[name].append(finding.check)
    # A training image that has a copy in another split may have copies in its own, too.
    leaked = {tuple(v.digest for v in f.views) for f in diagnosis.facts if "leak" in out.get(f.item.name, ())}
    for f in diagnosis.facts:
        alone = f.item.domain == "AB" or not diagnosis.stock.paired
        if alone and f.item.split == "train" and tuple(v.digest for v in f.views) in leaked:
            out.setdefault(f.item.name, ["leak"])
    if diagnosis.stock.paired:
        halves = [f.item for f in diagnosis.facts if f.item.domain != "AB"]
        gone = {(item.split, item.key) for item in halves if item.name in out}
        for item in halves:
            if (item.split, item.key) in gone:
                out.setdefault(item.name, ["partner"])
    return out


def _place(f: Facts, root: Path, names: set[str]) -> Path:
    """Where a file that is written anew goes: PNG, unless another file has that name."""
    own = f.item.path.relative_to(root)
    png = own.with_suffix(".png")
    if own.suffix == ".png" or printable(png.as_posix()) not in names:
        return png
    return own.with_name(f"{own.stem}_{own.suffix[1:]}.png")


def _as_trained(f: Facts, diagnosis: Diagnosis, usual: str, tolerance: int) -> Image.Image:
    """The image as training reads it, with label maps that have drifted snapped to their palette."""
    image = read_image(f.item.path, 1 if usual == "gray" else 3)
    if f.item.path not in diagnosis.drifted or diagnosis.palette is None:
        return image
    array = np.array(read_image(f.item.path))
    half = array.shape[1] // 2
    side = slice(0, half) if diagnosis.labels == "A" else slice(half, None)
    own = side if f.item.domain == "AB" else slice(None)
    array[:, own] = snap(array[:, own], diagnosis.palette, tolerance)
    return Image.fromarray(array)
