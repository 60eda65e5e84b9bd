"""Training on the corpus: every image is what it should be, and what cannot be read is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_making import luma

from patchlight.data import ImageDataModule
from patchlight.errors import DataError

pytestmark = [
    pytest.mark.filterwarnings("ignore:::PIL"),  # about what the files hold
    pytest.mark.untraced,  # trainings by the command: see conftest.py
]

SMALL = (
    "train", "model=cyclegan", "model/generator=resnet_6", "model.generator.n_blocks=1", "model.generator.ngf=4",
    "model.discriminator.ndf=4", "model.discriminator.n_layers=1", "data=unpaired", "data.root=set",
    "data.image_size=16", "data.load_size=20", "data.num_workers=0", "data.val_size=0", "logger=csv", "trainer=cpu",
    "trainer.max_epochs=1", "callbacks.patch_maps=null",
)  # fmt: skip


def read_all(root: Path, **settings: Any) -> dict[str, Any]:
    """Every image of domain A, as training gets it, by its path: B C H W of 8 bits."""
    defaults: dict[str, Any] = {"preprocess": "none", "flip": False, "num_workers": 0, "val_size": 0, "cache": 0}
    data = ImageDataModule(root, "unpaired", **(defaults | settings))
    data.setup()
    return {batch["A_path"][0]: batch["A"] for batch in data.train_dataloader()}


@pytest.fixture(scope="module")
def images(
    entries: list[Any], good: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The folder of domain A, and all of its images in colour and in gray."""
    root = tmp_path_factory.mktemp("set")
    good(root / "trainB" / "b.png", 1)
    (root / "trainA").mkdir()
    for entry in entries:
        if entry.pixels is not None:
            entry.write(root / "trainA" / entry.file)
    return root / "trainA", read_all(root), read_all(root, channels_a=1)


def test_usable(usable: Any, images: Any) -> None:
    folder, *both = images
    height, width = usable.pixels.shape[:2]
    for found, expected in zip(both, (usable.pixels, luma(usable.pixels)[:, :, None]), strict=True):
        pixels = found[str(folder / usable.file)][0].numpy().transpose(1, 2, 0)
        if height % 4 == width % 4 == 0:
            assert pixels.shape == expected.shape
            difference = np.abs(pixels.astype(float) - expected).mean()
            # Gray may be rounded in another way than the colours that it is made of.
            assert difference <= usable.tolerance + (0 if expected.shape[2] == 3 else 0.5)
        else:
            assert pixels.shape == (*(max(4, round(side / 4) * 4) for side in (height, width)), expected.shape[2])
            assert np.abs(pixels.astype(float).mean((0, 1)) - expected.mean((0, 1))).max() <= 3


def test_none_is_lost(entries: list[Any], images: Any) -> None:
    folder, colour, gray = images
    usable = {str(folder / entry.file) for entry in entries if entry.pixels is not None}
    assert set(colour) == set(gray) == usable


def one_bad(root: Path, entry: Any, good: Any) -> None:
    for i, name in enumerate(("trainA/a.png", "trainA/z.png", "trainB/b.png", "testA/a.png", "testB/b.png")):
        good(root / name, i)
    entry.write(root / "trainA" / entry.file)


@pytest.mark.parametrize("channels", [1, 3])
def test_refused(refused: Any, channels: int, good: Any, tmp_path: Path) -> None:
    one_bad(tmp_path, refused, good)
    with pytest.raises(DataError) as caught:
        read_all(tmp_path, channels_a=channels)
    said = str(caught.value)
    named = str(tmp_path / "trainA" / refused.file).replace("\n", "\\n")
    assert said.startswith(named)
    assert re.search(refused.refused, said), said
    assert "\n" not in said


def entry_of(entries: list[Any], name: str) -> Any:
    (entry,) = (entry for entry in entries if entry.name == name)
    return entry


@pytest.mark.parametrize("name", ["text named .png", "zero bytes", "decompression bomb", "link to nowhere", "pipe"])
def test_a_header_stops_the_command_before_it_begins(
    name: str, entries: list[Any], good: Any, typed: Any, tmp_path: Path
) -> None:
    entry = entry_of(entries, name)
    one_bad(tmp_path / "set", entry, good)
    outcome = typed(*SMALL, folder=tmp_path)
    assert outcome.status == 1
    assert re.fullmatch(
        rf"patchlight-train: set/trainA/{entry.file} .*{entry.refused}.* \(all at once: patchlight-doctor data=set\)\n",
        outcome.err,
    )
    assert not list((tmp_path / "logs").rglob("*.*")) if (tmp_path / "logs").exists() else True
    assert "Traceback" not in outcome.out


@pytest.mark.parametrize("workers", [0, 1])
def test_what_only_its_pixels_tell_stops_the_command(
    workers: int, entries: list[Any], good: Any, typed: Any, tmp_path: Path
) -> None:
    entry = entry_of(entries, "truncated JPEG")
    one_bad(tmp_path / "set", entry, good)
    outcome = typed(*SMALL, f"data.num_workers={workers}", folder=tmp_path)
    assert outcome.status == 1
    assert re.fullmatch(rf"patchlight-train: set/trainA/{entry.file} cannot be read as an image \(.*\n", outcome.err)
    assert "Traceback" not in outcome.out


def test_a_training_on_all_that_can_be_used(entries: list[Any], good: Any, typed: Any, tmp_path: Path) -> None:
    for name in ("trainB/b.png", "testA/a.png", "testB/b.png"):
        good(tmp_path / "set" / name, 1)
    (tmp_path / "set" / "trainA").mkdir()
    for entry in entries:
        if entry.pixels is not None:
            entry.write(tmp_path / "set" / "trainA" / entry.file)
    for entry in entries:  # names are also counted, written down and drawn
        if entry.name in ("newline", "escape sequence", "broken encoding", "250 characters", "unicode"):
            for folder in ("valA", "valB", "testA", "testB"):
                (tmp_path / "set" / folder).mkdir(exist_ok=True)
                entry.write(tmp_path / "set" / folder / entry.file)
    outcome = typed(*SMALL, "trainer.log_every_n_steps=1", folder=tmp_path)
    assert outcome.status == 0, outcome.err
    assert "Traceback" not in outcome.out + outcome.err
    usable = sum(entry.pixels is not None for entry in entries)
    (table,) = (tmp_path / "logs").rglob("metrics.csv")
    first, *rows = table.read_text(encoding="utf-8").splitlines()
    seen = [row.split(",")[first.split(",").index("images_seen")] for row in rows]
    assert str(usable) in [number.partition(".")[0] for number in seen]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("data.root=" + "x" * 300,), f"data.root={'x' * 300} is not a folder: give the folder of the image set"),
        (("data.root=loop",), "data.root=loop is not a folder: give the folder of the image set, or download one"),
        (("data.root=file",), "data.root=file is not a folder: give the folder of the image set, or download one"),
        (("data.root=empty",), "data.root=empty has no training images: for unpaired data it should hold "),
        (("data.root=half",), "half/trainA is there but half/trainB is not: a split in two folders needs the images"),
        (("data.root=text",), "text/trainB has no images: it should hold files that end with "),
        (("paths.log_dir=file",), "paths.log_dir=file cannot be a folder: file is a file; choose another"),
        (("paths.log_dir=" + "x" * 300,), f"paths.log_dir={'x' * 300} cannot be "),
        (("paths.log_dir=loop",), "paths.log_dir=loop cannot be "),
    ],
)
def test_odd_arguments(given: tuple[str, ...], message: str, good: Any, typed: Any, tmp_path: Path) -> None:
    for name in ("set/trainA/a.png", "set/trainB/b.png", "half/trainA/a.png", "text/trainA/a.png"):
        good(tmp_path / name, 1)
    (tmp_path / "text" / "trainB").mkdir()
    (tmp_path / "text" / "trainB" / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    outcome = typed(*SMALL, *given, folder=tmp_path)
    assert outcome.status == 1
    assert outcome.err.startswith(f"patchlight-train: {message}")
    assert outcome.err.count("\n") == 1


def test_a_full_disk(small_disk: Path, good: Any, typed: Any, tmp_path: Path) -> None:
    for name in ("trainA/a.png", "trainB/b.png"):
        good(tmp_path / "set" / name, 1)
    (small_disk / "full").write_bytes(bytes(2**16))
    outcome = typed(*SMALL, f"paths.log_dir={small_disk}", folder=tmp_path)
    assert outcome.status == 1
    assert outcome.err.startswith("patchlight-train: ")
    assert "No space left on device" in outcome.err
    assert outcome.err.count("\n") == 1
