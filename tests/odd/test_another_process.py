"""What only shows in another process: permissions, which do not bind root, and what Pillow has to say besides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SMALL = (
    "train", "model=cyclegan", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "data=unpaired", "data.root=set",
    "data.image_size=16", "data.load_size=20", "data.num_workers=0", "data.val_size=0", "logger=csv", "trainer=cpu",
    "trainer.max_epochs=1", "callbacks.patch_maps=null",
)  # fmt: skip


@dataclass(frozen=True)
class Left:
    """What the commands said, by their order in each part, and the folder that they ran in."""

    folder: Path
    translate: list[Any]
    doctor: list[Any]
    train: list[Any]


# Sixteen commands in a process without the powers of root, which cannot be given back.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def left(
    without_powers: Any, entries: list[Any], good: Any, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Left:  # fmt: skip
    root = tmp_path_factory.mktemp("bound")
    _prepare(root, entries, good)
    given = ["translate", f"ckpt={checkpoint}", "device=cpu"]
    inputs = (
        ("in", "out"), ("set/trainA", "out2"), ("names", "out3"), ("in/a.png", "fixed"), ("in/a.png", "fixed/sub"),
        ("damaged", "out4"),
    )  # fmt: skip
    translate = [[*given, f"input={a}", f"output={b}"] for a, b in inputs]
    look = ["doctor", "data=set", "layout=unpaired"]
    doctor = [look, [*look, "output=fixed"], [*look, "output=null", "fix=fixed/copy"], ["doctor", "data=shut"]]
    train = [[*SMALL, f"data.root={name}"] for name in ("closed", "set", "unsearchable", "shut", "torn")]
    train.append([*SMALL, "data.root=torn", "paths.log_dir=fixed"])
    said = iter(without_powers([*translate, *doctor, *train], root))
    return Left(root, *([next(said) for _ in lines] for lines in (translate, doctor, train)))


def _prepare(root: Path, entries: list[Any], good: Any) -> None:
    for place in ("set", "closed", "unsearchable", "shut", "torn"):
        for name in ("trainA/a.png", "trainA/z.png", "trainA/sub/c.png", "trainB/b.png"):
            good(root / place / name, len(name))
    for name in ("in/a.png", "in/closed.png", "names/a.png", "set/trainA/names/d.png"):
        good(root / name, 1)
    (root / "damaged").mkdir()
    for entry in entries:
        if entry.name in ("truncated packed TIFF", "slightly too large", "damaged EXIF"):
            entry.write(root / "damaged" / entry.file)
        if entry.name == "slightly too large":
            entry.write(root / "torn" / "trainA" / entry.file)
    for name in ("in/closed.png", "set/trainA/z.png", "set/trainA/sub", "closed/trainA/z.png"):
        (root / name).chmod(0)
    for name in ("names", "set/trainA/names", "unsearchable/trainA/sub", "shut"):
        (root / name).chmod(0o400)  # its names can be read, and nothing else
    (root / "fixed").mkdir(mode=0o500)


FAILED = "patchlight-translate: 1 image could not be translated:\n"


def test_translate(left: Left) -> None:
    file, folder, names, fixed, sub, damaged = left.translate
    assert (file.status, file.err) == (
        1,
        f"{FAILED}  in/closed.png: it cannot be read as an image (Permission denied)\n",
    )
    assert [path.name for path in (left.folder / "out").iterdir()] == ["a.png"]
    assert (folder.status, folder.err) == (1, (
        "patchlight-translate: set/trainA/sub cannot be read (Permission denied): change its permissions, or remove "
        "it\n"
    ))  # fmt: skip
    assert not (left.folder / "out2").exists()
    assert (names.status, names.err) == (
        1,
        f"{FAILED}  names/a.png: it cannot be read as an image (Permission denied)\n",
    )
    assert fixed.status == 1
    assert fixed.err == f"{FAILED}  in/a.png: its result fixed/a.png cannot be written (Permission denied)\n"
    assert (sub.status, sub.out) == (1, "")
    assert sub.err == (
        "patchlight-translate: output=fixed/sub cannot be made (Permission denied): choose another folder\n"
    )
    assert damaged.status == 1
    assert [line.partition(":")[0] for line in damaged.err.splitlines()] == [
        "patchlight-translate", "  damaged/bomb-small.png", "  damaged/cut-lzw.tif"
    ]  # fmt: skip
    assert [path.name for path in (left.folder / "out4").iterdir()] == ["exif-damaged.jpg"]


def test_doctor(left: Left) -> None:
    looked, fixed, copied, shut = left.doctor
    report = json.loads((left.folder / "doctor" / "report.json").read_text(encoding="utf-8"))
    assert (looked.status, looked.err) == (1, "")
    messages = {check: [f["message"] for f in found["findings"]] for check, found in report["checks"].items()}
    assert sorted(messages["unreadable"]) == [
        "trainA/names/d.png cannot be read as an image (Permission denied)",
        "trainA/z.png cannot be read as an image (Permission denied)",
    ]
    assert messages["folder"] == ["trainA/sub cannot be read (Permission denied)"]
    assert report["counts"]["error"] == 3
    for outcome, message in (
        (fixed, "output=fixed cannot be written to: choose another folder"),
        (copied, "fix=fixed/copy could not be written (Permission denied), and nothing is left of it"),
        (shut, "data=shut cannot be read (Permission denied)"),
    ):
        assert outcome.status == 1
        assert outcome.err.startswith(f"patchlight-doctor: {message}")
        assert outcome.err.count("\n") == 1


def test_train(left: Left) -> None:
    messages = (
        "closed/trainA/z.png cannot be read as an image (Permission denied): replace or remove it",
        "set/trainA/sub cannot be read (Permission denied): change its permissions, or remove it",
        "unsearchable/trainA/sub/c.png cannot be read as an image (Permission denied): replace or remove it",
        "data.root=shut is not readable: change its permissions",
        "torn/trainA/bomb-small.png is too large to be decoded safely (9500x9500 pixels): scale it down first",
        "paths.log_dir=fixed cannot be made: fixed is not writable; choose another",
    )
    for outcome, message in zip(left.train, messages, strict=True):
        assert (outcome.status, outcome.err.count("\n")) == (1, 1), outcome.err
        assert outcome.err.startswith(f"patchlight-train: {message}")
