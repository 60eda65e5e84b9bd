"""A cleaned copy of a set: what cannot be used left out, what training would change anyway changed for good."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from patchlight.data.images import read_image
from patchlight.diagnosis.diagnose import Diagnosis
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

Deed = Literal["left out", "rewritten"]


@dataclass(frozen=True)
class Change:
    """A file that is left out or rewritten: `file` and `becomes` are names below the folder, `reasons` are checks."""

    file: str
    deed: Deed
    reasons: tuple[str, ...]
    becomes: str | None = None


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
    planned = list(_plan(diagnosis))
    changes = [change for change, _ in planned]
    by_name = {change.file: (change, place) for change, place in planned}
    target = _resolved(fix)
    part = target.with_name(f".patchlight-{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        usual = _usual_channels(diagnosis)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about what has been found
            for f in diagnosis.facts:
                _write(f, by_name.get(f.item.name), part, diagnosis, usual.get(f.item.domain, "colour"), tolerance)
                advance()
        content = [{"file": c.file, "deed": c.deed, "reasons": list(c.reasons), "becomes": c.becomes} for c in changes]
        write_json(
            part / "changes.json", {"version": 1, "data": printable(diagnosis.stock.root.resolve()), "changes": content}
        )
        part.replace(target)
    except (OSError, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else printable(str(error))
        raise ConfigError(
            f"fix={printable(fix)} could not be written ({reason}), and nothing is left of it: choose a folder "
            f"with room"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return changes


def _plan(diagnosis: Diagnosis) -> Iterator[tuple[Change, Path]]:
    """The change of each file that is not simply copied, with the place of a rewritten one."""
    out = _left_out(diagnosis)
    why: dict[str, list[str]] = {}
    for finding in diagnosis.findings:
        if finding.check in REWRITTEN:
            for name in finding.files:
                why.setdefault(name, []).append(finding.check)
    names = {f.item.name for f in diagnosis.facts}
    for f in diagnosis.facts:
        name = f.item.name
        if name in out:
            yield Change(name, "left out", tuple(dict.fromkeys(out[name]))), Path()
        elif name in why:
            place = _place(f, diagnosis.stock.root, names)
            yield Change(name, "rewritten", tuple(dict.fromkeys(why[name])), printable(place.as_posix())), place


def _left_out(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """The files that are left out, and why; a partner of such a file has none any more."""
    out: dict[str, list[str]] = {}
    splits = {f.item.name: f.item.split for f in diagnosis.facts}
    for finding in diagnosis.findings:
        if finding.check in LEFT_OUT:
            for name in finding.files:
                out.setdefault(name, []).append(finding.check)
        elif finding.check == "leak":
            for name in finding.files:
                if splits[name] == "train":
                    out.setdefault(name, []).append("leak")
    _all_copies(diagnosis, out)
    if diagnosis.stock.paired:
        gone = {(f.item.split, f.item.key) for f in diagnosis.facts if f.item.domain != "AB" and f.item.name in out}
        for f in diagnosis.facts:
            if f.item.domain != "AB" and (f.item.split, f.item.key) in gone and f.item.name not in out:
                out[f.item.name] = ["partner"]
    return out


def _all_copies(diagnosis: Diagnosis, out: dict[str, list[str]]) -> None:
    """A training image that has a copy in another split may have copies in its own, too."""
    leaked = {tuple(v.digest for v in f.views) for f in diagnosis.facts if "leak" in out.get(f.item.name, ())}
    for f in diagnosis.facts:
        alone = f.item.domain == "AB" or not diagnosis.stock.paired
        if alone and f.item.split == "train" and tuple(v.digest for v in f.views) in leaked:
            out.setdefault(f.item.name, ["leak"])


def _place(f: Facts, root: Path, names: set[str]) -> Path:
    """Where a file that is written anew goes: PNG, unless another file has that name."""
    own = f.item.path.relative_to(root)
    png = own.with_suffix(".png")
    if own.suffix == ".png" or printable(png.as_posix()) not in names:
        return png
    return own.with_name(f"{own.stem}_{own.suffix[1:]}.png")


def _write(
    f: Facts, change: tuple[Change, Path] | None, part: Path, diagnosis: Diagnosis, usual: str, tolerance: int
) -> None:  # fmt: skip
    if change is None:
        place = part / f.item.path.relative_to(diagnosis.stock.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f.item.path, place)
    elif change[0].deed == "rewritten":
        place = part / change[1]
        place.parent.mkdir(parents=True, exist_ok=True)
        _as_trained(f, diagnosis, usual, tolerance).save(place, "PNG")


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


def _usual_channels(diagnosis: Diagnosis) -> dict[str, str]:
    """The channels of most files of each domain: gray or colour."""
    found: dict[str, Counter[str]] = {}
    for f in diagnosis.facts:
        if f.trouble is None:
            found.setdefault(f.item.domain, Counter())[f.channels] += 1
    return {domain: kinds.most_common(1)[0][0] for domain, kinds in found.items()}
