"""`patchlight-doctor` as it is typed."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import Outcome, Typed

Type = Callable[..., Outcome]


def picture(seed: int, height: int = 32, width: int = 64) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, typed: Typed) -> Type:
    """Runs the command in `tmp_path`, which holds the pairs of `set`: exit status and both outputs."""
    monkeypatch.setenv("COLUMNS", "160")
    for split, first, number in (("train", 0, 5), ("val", 5, 2), ("test", 7, 2)):
        Path("set", split).mkdir(parents=True)
        for i in range(first, first + number):
            picture(i).save(f"set/{split}/{i}.png")
    return partial(typed, "doctor")


def test_a_good_set(typed: Type, tmp_path: Path) -> None:
    status, said, complaints = typed("data=set")
    assert (status, complaints) == (0, "")
    first, second, third = said.splitlines()
    assert first == "pairs side by side: 5 train, 2 val, 2 test"
    assert second.startswith("9 files in ")
    assert second.endswith(" s: 0 errors, 0 warnings, 0 notes")
    assert third == "written: doctor/report.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["doctor", "set"]
    report = json.loads(Path("doctor/report.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"error": 0, "warning": 0, "note": 0}
    assert report["images"] == {"train": {"A": 5, "B": 5}, "val": {"A": 2, "B": 2}, "test": {"A": 2, "B": 2}}
    assert (report["version"], report["pairing"], report["layout"]) == (1, "paired", "side_by_side")
    assert (report["sizes"], report["modes"], report["labels"]) == ({"32x32": 9}, {"RGB": 9}, None)
    assert report["checks"] == {}


def test_errors_warnings_and_notes(typed: Type) -> None:
    Path("set/train/em\npty.png").write_bytes(b"")
    Path("set/train/text.png").write_text("text", encoding="utf-8")
    Image.open("set/train/1.png").save("set/test/again.png")
    Path("set/notes.txt").write_text("text", encoding="utf-8")
    Path("set/test/notes.txt").write_text("text", encoding="utf-8")
    status, said, complaints = typed("data=set", "workers=1")
    assert (status, complaints) == (1, "")
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[1:7] == [
        "level count what worst example",
        "error 1 file without bytes train/em\\npty.png has no bytes",
        "error 1 not readable as an image train/text.png cannot be read as an image (cannot identify image file)",
        "warning 1 same image in training and evaluation test/again.png is also train/1.png",
        "warning 1 name that will be trouble train/em\\npty.png has a line break, control character or broken encoding",
        "note 1 file that is not taken for an image test/notes.txt does not end like an image",
    ]
    assert lines[7].endswith("s: 2 errors, 2 warnings, 1 note")
    report = json.loads(Path("doctor/report.json").read_text(encoding="utf-8"))
    assert list(report["checks"]) == ["empty_file", "unreadable", "leak", "name", "other_file"]
    assert report["checks"]["leak"]["findings"] == [
        {"files": ["test/again.png", "train/1.png"], "message": "test/again.png is also train/1.png", "value": 1.0}
    ]
    assert report["checks"]["leak"]["level"] == "warning"
    with Image.open("doctor/worst.png") as sheet:
        assert sheet.width == 1280
        assert sheet.height > 3 * 250
    for path in Path("set").rglob("*pty.png"):
        path.unlink()


def test_the_copy_is_without_them(typed: Type) -> None:
    Path("set/train/text.png").write_text("text", encoding="utf-8")
    Image.open("set/train/1.png").save("set/test/again.png")
    picture(20).convert("RGBA").save("set/train/alpha.png")
    status, said, complaints = typed("data=set", "output=null", "fix=clean")
    assert (status, complaints) == (1, "")
    assert said.splitlines()[-2:] == [
        "cleaned copy in clean: 10 files, 1 of them rewritten, 2 left out",
        "1 left out (leak), 1 left out (unreadable), 1 rewritten (alpha); changes.json lists them",
    ]
    assert typed("data=clean", "output=null")[0] == 0
    assert not Path("doctor").exists()


def test_the_sheet_of_an_earlier_set_goes(typed: Type) -> None:
    Path("set/train/x.png").write_bytes(b"")
    assert typed("data=set")[0] == 1
    assert Path("doctor/worst.png").is_file()
    Path("set/train/x.png").unlink()
    assert typed("data=set")[0] == 0
    assert not Path("doctor/worst.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "root is not set: give data=DIR, the folder of an image set"),
        (["data=nowhere"], "data=nowhere is not a folder"),
        (["data=set", "fix=set/clean"], "fix=set/clean is within data=set, which is never changed"),
        (["data=set", "fix=."], "fix=. holds data=set"),
        (["data=set", "output=set/doctor"], "output=set/doctor is within data=set, which is never changed"),
        (["data=set", "output=set/train/0.png/x"], "output=set/train/0.png/x is within data=set"),
        (["data=set", "output=file/x"], "output=file/x cannot be made (Not a directory)"),
        (["data=set", "layout=pairs"], "layout=pairs should be 'auto', 'paired' or 'unpaired'"),
        (["data=set", "labels=C"], "labels=C should be 'auto', 'A' or 'B'"),
        (["data=set", "workers=0"], "workers=0 should be 'auto' or at least 1"),
        (["data=set", "min_side=0"], "min_side=0 should be at least 1"),
        (["data=set", "min_sides=3"], "min_sides is no key of the configuration: did you mean min_side?"),
    ],
)
def test_what_is_wrong_is_one_message(arguments: list[str], message: str, typed: Type) -> None:
    Path("file").write_text("text", encoding="utf-8")
    status, said, complaints = typed(*arguments)
    assert (status, said) == (1, "")
    assert complaints.startswith(f"patchlight-doctor: {message}")
    assert complaints.count("\n") == 1


def test_an_output_that_cannot_be_written(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    status, _, complaints = typed("data=set")
    assert status == 1
    assert complaints == (
        "patchlight-doctor: output=doctor cannot be written to (No space left on device): choose another folder\n"
    )
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "output=doctor cannot be written to: choose another folder, or null" in typed("data=set")[2]


def test_files_that_may_not_grow_leave_no_copy(typed: Type, tmp_path: Path) -> None:
    """A real error in the middle of writing: the system lets no file have more than 1,000 bytes."""
    picture(20, 256, 512).save("set/train/large.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        status, _, complaints = typed("data=set", "output=null", "fix=clean")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1
    assert complaints.startswith("patchlight-doctor: fix=clean could not be written (File too large), and nothing is")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


@pytest.mark.untraced  # which does not rest on sets that are not part of the repository
@pytest.mark.parametrize(
    ("name", "described", "expected"),
    [
        ("facades", "pairs side by side: 400 train, 106 test; B are label maps of 12 colours",
         {"label_drift", "splits"}),
        ("tiny_orange2lemon", "two domains without pairs: 500 + 500 train, 50 + 50 test",
         {"both_domains", "mode", "splits"}),
        ("tshirt2longsleeve", "two domains without pairs: 250 + 250 train, 52 + 72 test", {"splits"}),
    ],
)  # fmt: skip
def test_real_sets(name: str, described: str, expected: set[str], shared: Path, typed: Type) -> None:
    status, said, _ = typed(f"data={shared / 'data' / name}")
    assert status == 0
    assert said.splitlines()[0] == described
    report = json.loads(Path("doctor/report.json").read_text(encoding="utf-8"))
    assert set(report["checks"]) == expected
    if name == "facades":
        assert report["checks"]["label_drift"]["count"] == 506
    if name == "tiny_orange2lemon":
        assert report["checks"]["both_domains"]["count"] == 2
        assert report["checks"]["mode"]["findings"][0]["files"] == ["trainB/n07749582_306.JPEG"]
