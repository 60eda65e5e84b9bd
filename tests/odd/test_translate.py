"""`patchlight-translate` on a folder that holds the whole corpus."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from odd_making import deep_png, photo, ramp
from PIL import Image

import patchlight

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # about what the files hold


@dataclass(frozen=True)
class Translated:
    """The folders, what the command said, and the translator that it used."""

    source: Path
    target: Path
    outcome: Any
    translator: Any

    def result(self, entry: Any) -> Path:
        name = Path(entry.file)
        return self.target / (name if name.suffix.lower() == ".png" else name.with_suffix(".png"))

    def lines(self, entry: Any) -> list[str]:
        """What was said of a file."""
        named = f"  in/{entry.file}: ".replace("\n", "\\n")
        return [line for line in self.outcome.err.splitlines() if line.startswith(named)]

    def colours(self, pixels: Any) -> Any:
        return np.asarray(self.translator(Image.fromarray(np.ascontiguousarray(pixels))), float)


@pytest.fixture(scope="module")
def translated(
    entries: list[Any], good: Any, typed: Any, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Translated:  # fmt: skip
    folder = tmp_path_factory.mktemp("corpus")
    source, target = folder / "in", folder / "out"
    good(source / "album.png" / "inside.png", 1)
    good(source / ".hidden" / "a.png", 2)
    good(source / ".hidden.png", 3)
    (source / "circle").symlink_to(source)
    (source / "notes.txt").write_text("text", encoding="utf-8")
    for entry in entries:
        entry.write(source / entry.file)
    given = (f"ckpt={checkpoint}", "input=in", "output=out", "device=cpu", "format=png")
    outcome = typed("translate", *given, folder=folder)
    return Translated(source, target, outcome, patchlight.load(checkpoint, device="cpu"))


def pixels_of(path: Path) -> Any:
    """RGB or RGBA of a file, 8 or 16 bits."""
    array: Any = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return array[:, :, [2, 1, 0, *range(3, array.shape[2])]]


def test_usable(usable: Any, translated: Translated) -> None:
    found = pixels_of(translated.result(usable))
    assert found.shape == (*usable.pixels.shape[:2], 3 if usable.alpha is None else 4)
    assert found.dtype == (np.uint16 if usable.deep else np.uint8)
    levels = found / (257 if usable.deep else 1)
    if usable.alpha is not None:
        assert np.array_equal(levels[:, :, 3], usable.alpha)
    # A single pixel is a constant image, of which instance normalisation enlarges the rounding; and to translate a
    # large image once more would take some seconds.
    if 3 < found.size < 10_000_000:
        difference = np.abs(levels[:, :, :3] - translated.colours(usable.pixels)).mean()
        # What is 16 bits deep is rounded, and what has 8 truncated; the network may enlarge differences of its input.
        assert difference <= 0.6 + 2 * usable.tolerance
    assert translated.lines(usable) == []


def test_refused(refused: Any, translated: Translated) -> None:
    (line,) = translated.lines(refused)
    assert re.search(refused.refused, line.partition(": ")[2]), line
    assert not os.path.lexists(translated.result(refused))


def test_nothing_else(entries: list[Any], translated: Translated) -> None:
    outcome = translated.outcome
    refused = sum(entry.pixels is None for entry in entries)
    assert outcome.status == 1
    assert len(entries) - refused > 40
    assert f"\n{len(entries) - refused + 1} images in " in outcome.out
    first, *others = outcome.err.splitlines()
    assert first == f"patchlight-translate: {refused} images could not be translated:"
    assert len(others) == refused
    assert "Traceback" not in outcome.out + outcome.err
    written = {path.relative_to(translated.target) for path in translated.target.rglob("*") if not path.is_dir()}
    expected = {translated.result(entry) for entry in entries if entry.pixels is not None}
    assert {translated.target / path for path in written} == expected | {translated.target / "album.png/inside.png"}


def test_each_as_its_own_kind(
    typed: Any, checkpoint: Path, tmp_path: Path
) -> None:  # fmt: skip
    """Without `format`, a result is of the kind that the name says, and what it cannot hold is refused."""
    array, alpha = photo(1), ramp()
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.webp", "c.tif", "d.bmp", "e.PNG"):
        Image.fromarray(array).save(tmp_path / "in" / name)
    Image.fromarray(np.dstack([array, alpha])).save(tmp_path / "in" / "liar.jpg", format="PNG")
    (tmp_path / "in" / "deep.webp").write_bytes(deep_png(array * np.uint16(257)))
    outcome = typed("translate", f"ckpt={checkpoint}", "input=in", "output=out", "device=cpu", folder=tmp_path)
    kinds = {}
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            kinds[path.name] = image.format
    assert kinds == {"a.jpg": "JPEG", "b.webp": "WEBP", "c.tif": "TIFF", "d.png": "PNG", "e.PNG": "PNG"}
    assert (outcome.status, outcome.err.splitlines()[1:]) == (1, [
        "  in/deep.webp: it has 16 bits, which webp cannot hold: use format=png or format=tif",
        "  in/liar.jpg: it has transparency, which jpg cannot hold: use format=png, format=tif or format=webp",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pipe.png", "it cannot be read as an image (it is no regular file)"),
        ("loop.png", "it cannot be read as an image (Too many levels of symbolic links)"),
        ("gone.png", "it cannot be read as an image (No such file or directory)"),
    ],
)
def test_what_is_no_file(given: str, message: str, typed: Any, checkpoint: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    outcome = typed("translate", f"ckpt={checkpoint}", f"input={given}", "output=out", "device=cpu", folder=tmp_path)
    assert outcome.status == 1
    assert outcome.err == f"patchlight-translate: 1 image could not be translated:\n  {given}: {message}\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("input=" + "x" * 300, "output=out"), f"input={'x' * 300} is not there: give a file, a folder, or a pattern"),
        (("input=a.png", "output=a.png"), "output=a.png cannot be made (File exists): choose another folder"),
        (("input=in", "output=loop"), "output=loop cannot be made (File exists): choose another folder"),
        (("input=in", "output=" + "x" * 300), f"output={'x' * 300} cannot be made (File name too long): choose"),
        (("input=empty", "output=out"), "input=empty has no images: files that end with "),
    ],
)
def test_odd_arguments(
    given: tuple[str, ...], message: str, typed: Any, good: Any, checkpoint: Path, tmp_path: Path
) -> None:  # fmt: skip
    good(tmp_path / "a.png", 1)
    good(tmp_path / "in" / "a.png", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    outcome = typed("translate", f"ckpt={checkpoint}", "device=cpu", *given, folder=tmp_path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"patchlight-translate: {message}")
    assert outcome.err.count("\n") == 1


def test_a_full_disk(small_disk: Path, typed: Any, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "in" / f"{i}.png")
    outcome = typed(
        "translate", f"ckpt={checkpoint}", "input=in", f"output={small_disk}", "device=cpu", folder=tmp_path
    )
    failed = [line.partition(": ") for line in outcome.err.splitlines()[1:]]
    written = {path.name for path in small_disk.iterdir()}
    assert outcome.status == 1
    assert 0 < len(written) < 6
    assert written | {Path(name.strip()).name for name, _, _ in failed} == {f"{i}.png" for i in range(6)}
    assert len(written) + len(failed) == 6
    for name, _, reason in failed:
        place = small_disk / Path(name).name
        assert reason == f"its result {place} cannot be written (No space left on device)"
    for path in small_disk.iterdir():
        with Image.open(path) as image:
            image.load()
