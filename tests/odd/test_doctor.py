"""`patchlight-doctor` on a set that holds the whole corpus."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchlight.diagnosis.findings import CHECKS
from patchlight.errors import printable

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about what the files hold


@pytest.fixture(scope="module")
def examined(
    entries: list[Any], good: Any, typed: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, dict[str, Any]]:
    """What the command said, and its report."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(40):
        good(folder / "set" / ("trainB", "testA", "testB", "trainB")[i % 4] / f"{i}.png", i)
    good(folder / "set" / "trainA" / "album.png" / "inside.png", 40)
    (folder / "set" / "trainA" / "circle").symlink_to(folder / "set" / "trainA")
    for entry in entries:
        entry.write(folder / "set" / "trainA" / entry.file)
    outcome = typed("doctor", "data=set", "workers=2", "layout=unpaired", folder=folder)
    return outcome, json.loads((folder / "doctor" / "report.json").read_text(encoding="utf-8"))


def findings(report: dict[str, Any], name: str) -> dict[str, list[str]]:
    """The messages of each check that names a file."""
    return {
        check: messages
        for check, content in report["checks"].items()
        if (messages := [f["message"] for f in content["findings"] if name in f["files"]])
    }


def test_entry(entry: Any, examined: tuple[Any, dict[str, Any]]) -> None:
    name = printable(f"trainA/{entry.file}")
    found = findings(examined[1], name)
    assert set(found) == entry.checks
    assert all(len(messages) == 1 for messages in found.values())
    assert all(name in message and "\n" not in message for (message,) in found.values())
    levels = {CHECKS[check].level for check in found}
    assert ("error" in levels) is (entry.pixels is None or "too_small" in found)


def test_the_whole_set(entries: list[Any], examined: tuple[Any, dict[str, Any]]) -> None:
    outcome, report = examined
    assert (outcome.status, outcome.err) == (1, "")
    assert "Traceback" not in outcome.out
    errors = sum(any(CHECKS[check].level == "error" for check in entry.checks) for entry in entries)
    assert report["counts"]["error"] == errors
    files = sum(not entry.checks & {"link"} and "pipe" not in entry.name for entry in entries) + 41
    assert report["files"] == files
    assert report["images"]["test"] == {"A": 10, "B": 10}
    assert findings(report, "trainA/album.png/inside.png") == {}
    assert set(findings(report, "trainA/circle")) == {"unused"}


def test_the_cleaned_copy(entries: list[Any], good: Any, typed: Any, tmp_path: Path) -> None:
    """It holds what can be used, as training reads it, and the doctor has nothing left to say of these files."""
    for i in range(4):
        good(tmp_path / "set" / ("trainB", "testA", "testB", "trainA")[i] / f"{i}.png", i)
    chosen = [entry for entry in entries if entry.name != "12 megapixels"]
    for entry in chosen:
        entry.write(tmp_path / "set" / "trainA" / entry.file)
    given = ("layout=unpaired", "imbalance=100")
    assert typed("doctor", "data=set", "fix=clean", "output=null", *given, folder=tmp_path).err == ""
    kept = [entry for entry in chosen if entry.pixels is not None and "too_small" not in entry.checks]
    copies = {path.name: path for path in (tmp_path / "clean" / "trainA").iterdir()}
    assert len(copies) == len(kept) + 1
    for entry in kept:
        copy = copies.get(entry.file) or copies[str(Path(entry.file).with_suffix(".png"))]
        with Image.open(copy) as image:
            if entry.checks - {"name"}:
                assert image.mode == "RGB"
                assert np.abs(np.asarray(image).astype(float) - entry.pixels).mean() <= entry.tolerance
            else:
                assert copy.read_bytes() == (tmp_path / "set" / "trainA" / entry.file).read_bytes()
    again = typed("doctor", "data=clean", *given, folder=tmp_path)
    report = json.loads((tmp_path / "doctor" / "report.json").read_text(encoding="utf-8"))
    assert again.status == 0
    assert set(report["checks"]) == {"damaged_jpeg", "name", "sizes", "splits"}, "which no copy can mend"


def test_a_full_disk(small_disk: Path, good: Any, typed: Any, tmp_path: Path) -> None:
    for i in range(8):
        good(tmp_path / "set" / f"train{'AB'[i % 2]}" / f"{i}.png", i)
    (small_disk / "full").write_bytes(bytes(2**16))
    reported = typed("doctor", "data=set", "layout=unpaired", f"output={small_disk}", folder=tmp_path)
    copied = typed("doctor", "data=set", "output=null", f"fix={small_disk / 'copy'}", folder=tmp_path)
    assert reported.status == copied.status == 1
    assert reported.err == (
        f"patchlight-doctor: output={small_disk} cannot be written to (No space left on device): choose another "
        f"folder\n"
    )
    assert copied.err == (
        f"patchlight-doctor: fix={small_disk / 'copy'} could not be written (No space left on device), and nothing is "
        f"left of it: choose a folder with room\n"
    )
    assert [path.name for path in small_disk.iterdir()] == ["full"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("data=loop",), "data=loop is not a folder: give the folder of the image set"),
        (("data=" + "x" * 300,), f"data={'x' * 300} is not a folder"),
        (("data=pipe",), "data=pipe is not a folder"),
        (("data=set", "output=loop"), "output=loop cannot be made (File exists): choose another folder"),
        (("data=set", "output=file"), "output=file cannot be made (File exists): choose another folder"),
        (("data=set", "output=null", "fix=loop"), "fix=loop is there and not empty: choose a new folder for the copy"),
        (("data=set", "output=null", "fix=file"), "fix=file is there and not empty: choose a new folder for the copy"),
    ],
)
def test_odd_arguments(given: tuple[str, ...], message: str, good: Any, typed: Any, tmp_path: Path) -> None:
    good(tmp_path / "set" / "trainA" / "a.png", 1)
    good(tmp_path / "set" / "trainB" / "a.png", 2)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    outcome = typed("doctor", *given, folder=tmp_path)
    assert outcome.status == 1
    assert outcome.err.startswith(f"patchlight-doctor: {message}")
    assert outcome.err.count("\n") == 1
