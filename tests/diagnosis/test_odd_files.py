"""A corpus of odd files: each gives the right finding, which names it."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchlight.data import ImageDataModule
from patchlight.diagnosis.diagnose import Thresholds, diagnose
from patchlight.diagnosis.sheet import worst_sheet
from patchlight.diagnosis.values import Expected
from patchlight.errors import DataError


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    """The helpers of conftest.py, which importlib mode keeps from being imported by name."""
    return request.config.pluginmanager.getplugin(str(Path(__file__).with_name("conftest.py")))


def cut(path: Path, image: Image.Image, **options: Any) -> None:
    image.save(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def bomb(path: Path) -> None:
    """A PNG that says it has 60000 x 60000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def deep(size: int = 64, top: int = 65535) -> np.ndarray[Any, Any]:
    return np.linspace(0, top, size * size).reshape(size, size)


def rotated(path: Path, image: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


Write = Callable[[Path, Image.Image], None]

CORPUS: dict[str, tuple[str, Write, str, str]] = {
    "truncated JPEG": ("x.jpg", lambda p, i: cut(p, i), "truncated", "image file is truncated"),
    "truncated PNG": ("x.png", lambda p, i: cut(p, i), "truncated", "truncated"),
    "zero bytes": ("x.jpg", lambda p, i: p.write_bytes(b"") and None, "empty_file", "trainA/x.jpg has no bytes"),
    "text": ("x.png", lambda p, i: p.write_text("hello") and None, "unreadable", "cannot identify image file"),
    "CMYK": ("x.jpg", lambda p, i: i.convert("CMYK").save(p), "mode", "trainA/x.jpg is CMYK"),
    "gray JPEG": ("x.jpg", lambda p, i: i.convert("L").save(p), "mode", "x.jpg is gray (L), while 9 of 10 in domain A"),
    "palette": ("x.png", lambda p, i: i.quantize(8).save(p), "palette", "trainA/x.png has a palette (PNG)"),
    "16-bit PNG": (
        "x.png", lambda p, i: Image.fromarray(deep().astype(np.uint16)).save(p), "bit_depth",
        "x.png has 16-bit values from 0 to 65535, of which training keeps 8 bits",
    ),
    "12 bits in 16": (
        "x.png", lambda p, i: Image.fromarray(deep(top=4095).astype(np.uint16)).save(p), "bit_depth", "almost black",
    ),
    "RGBA": ("x.png", lambda p, i: i.convert("RGBA").save(p), "alpha", "trainA/x.png has transparency (RGBA)"),
    "LA": ("x.png", lambda p, i: i.convert("LA").save(p), "alpha", "trainA/x.png has transparency (LA)"),
    "float TIFF": (
        "x.tif", lambda p, i: Image.fromarray(deep(top=255).astype(np.float32)).save(p), "value_range",
        "trainA/x.tif has values from 0 to 255",
    ),
    "multi-page TIFF": (
        "x.tif", lambda p, i: i.save(p, save_all=True, append_images=[i, i]), "frames", "x.tif has 3 pages or frames",
    ),
    "animated WebP": (
        "x.webp", lambda p, i: i.save(p, save_all=True, append_images=[i.rotate(90)]), "frames",
        "x.webp has 2 pages or frames (WEBP)",
    ),
    "EXIF": ("x.jpg", rotated, "orientation", "trainA/x.jpg is turned by EXIF orientation 6"),
    "1x1": ("x.png", lambda p, i: i.crop((0, 0, 1, 1)).save(p), "too_small", "trainA/x.png is 1x1 pixels"),
    "1x4000": ("x.png", lambda p, i: i.resize((1, 4000)).save(p), "too_small", "trainA/x.png is 1x4000 pixels"),
    "5000x3": ("x.png", lambda p, i: i.resize((5000, 3)).save(p), "too_small", "trainA/x.png is 5000x3 pixels"),
    "500x20": ("x.png", lambda p, i: i.resize((500, 20)).save(p), "aspect", "x.png is 500x20 pixels, 25.0 times"),
    "bomb": ("x.png", lambda p, i: bomb(p), "too_large", "trainA/x.png is too large to be decoded safely"),
    "newline": ("a\nb.png", lambda p, i: i.save(p), "name", "trainA/a\\nb.png has a line break"),
    "broken encoding": (os.fsdecode(b"\xff.png"), lambda p, i: i.save(p), "name", "trainA/\\udcff.png has a line"),
    "250 characters": ("n" * 246 + ".png", lambda p, i: i.save(p), "name", "is a name of 250 bytes"),
    "link to itself": ("x.png", lambda p, i: p.symlink_to(p), "link", "trainA/x.png is a link to nowhere, or to itse"),
    "loop of folders": ("sub", lambda p, i: p.symlink_to(p.parent), "unused", "trainA/sub is a link to a folder"),
    "blank": ("x.png", lambda p, i: Image.new("RGB", (64, 64), "red").save(p), "blank", "deviation of 0.0 levels"),
    "a note": ("x.txt", lambda p, i: p.write_text("hello") and None, "other_file", "trainA/x.txt does not end like"),
}  # fmt: skip


@pytest.mark.parametrize("case", CORPUS)
def test_odd_file(case: str, domains: Path, look: Any, kit: Any) -> None:
    name, write, check, message = CORPUS[case]
    write(domains / "trainA" / name, kit.photo(77))
    said = kit.found(look(domains))
    assert message in said[check][0]
    assert all("\n" not in text and str(domains) not in text for group in said.values() for text in group)
    expected = {
        "gray JPEG": {"mode"}, "16-bit PNG": {"bit_depth", "mode"},
        "12 bits in 16": {"bit_depth", "mode", "low_contrast"},
        "LA": {"alpha", "mode"}, "float TIFF": {"bit_depth", "value_range", "mode"},
        "1x1": {"too_small", "sizes", "blank"}, "1x4000": {"too_small", "sizes"}, "5000x3": {"too_small", "sizes"},
        "500x20": {"aspect", "sizes"},
    }.get(case, {check})  # fmt: skip
    assert set(said) == expected


@pytest.mark.parametrize("name", ["two words.png", "фасад 正面 é.png", "a[b]'c\"$(x).png", "UPPER.PNG"])
def test_names_that_are_no_trouble(name: str, domains: Path, look: Any, kit: Any) -> None:
    kit.photo(77).save(domains / "trainA" / name)
    diagnosis = look(domains)
    assert kit.found(diagnosis) == {}
    assert f"trainA/{name}" in [facts.item.name for facts in diagnosis.facts]


def test_a_folder_that_cannot_be_read(
    domains: Path, look: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    locked = domains / "trainA" / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path) == str(locked):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom permissions do not stop
    assert kit.found(look(domains)) == {"folder": ["trainA/locked cannot be read (Permission denied)"]}
    data = ImageDataModule(domains, "unpaired", image_size=16, load_size=16, val_size=0)
    with pytest.raises(DataError, match=r"trainA/locked cannot be read \(Permission denied\): change its permissions"):
        data.setup()


def test_a_file_that_cannot_be_opened(
    domains: Path, look: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    opened = Image.open

    def refuse(path: Any, *args: Any, **options: Any) -> Any:
        if str(path).endswith("trainA/A0.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Image, "open", refuse)
    assert kit.found(look(domains)) == {"unreadable": ["trainA/A0.png cannot be read as an image (Permission denied)"]}


def test_images_that_are_read_by_their_values(kit: Any, tmp_path: Path) -> None:
    """Each finding names its file; nothing is said of 8 bits, and what is right has no finding."""
    rng = np.random.default_rng(0)
    root = tmp_path / "set"
    for folder in ("trainA", "trainB", "train_mask"):
        (root / folder).mkdir(parents=True)
    for i in range(10):
        bands = rng.integers(1000, 9000, (32, 32, 4)).astype(np.uint16)
        kelvins = rng.uniform(250, 320, (32, 32)).astype(np.float32)
        valid = rng.integers(0, 2, (32, 32), dtype=np.uint8)
        match i:
            case 0:
                bands = bands[:, :, :3]
            case 1:
                bands = bands.astype(np.int32) - 5000
            case 2:
                bands[:, :, 1] = 1234
            case 3:
                bands[:8], bands[8, 0, 0] = 20_000, 1000
            case 4:
                kelvins[:2, :3] = np.nan
            case 5:
                kelvins[0, 0] = np.inf
            case 6:
                valid[:] = 0
            case 7:
                valid = valid[:16]
        np.save(root / f"trainA/{i}.npy", bands)
        Image.fromarray(kelvins).save(root / f"trainB/{i}.tif")
        if i != 8:
            Image.fromarray(valid).save(root / f"train_mask/{i}.{'jpg' if i == 9 else 'png'}")
    expected = {"A": Expected("uint16", [0, 10_000]), "B": Expected("float32", [200, 350])}
    diagnosis = diagnose(root, "auto", "auto", Thresholds(), 2, lambda total: lambda: None, expected)
    assert kit.found(diagnosis) == {
        "bands": ["trainA/0.npy has 3 bands, while 9 of 10 in domain A have 4"],
        "value_type": ["trainA/1.npy: its values are int32 where data.depth=uint16 wants others"],
        "constant_band": ["trainA/2.npy has one value in band 2 of 4"],
        "clipped": [
            next(f.message for f in diagnosis.findings if f.message.startswith("trainA/1.npy has")),
            "trainA/3.npy has 25.0% of its values, 1000 to 20000, outside 0 to 10000",
        ],
        "not_finite": [
            "trainB/4.tif has 6 values that are NaN or infinite", "trainB/5.tif has 1 values that are NaN or infinite",
        ],
        "empty_mask": ["train_mask/6.png has no valid pixel"],
        "mask": [
            "trainA/8.npy has no mask of its name in train_mask", "train_mask/7.png is 32x16 pixels, its image 32x32",
            "train_mask/9.jpg cannot be used: it cannot be read as an image (it is a JPEG, which does not keep zeros: "
            "use PNG)",
        ],
        "splits": ["there is no val split", "there is no test split"],
    }  # fmt: skip
    assert {f.level for f in diagnosis.findings if f.check in ("bands", "value_type", "not_finite", "mask")} == {
        "error"
    }
    assert worst_sheet(diagnosis, "t", "s", Thresholds()) is not None


def test_what_does_not_go_with_values_is_refused(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for given, message in (
        (("range_a=[0,1]",), "range_a=[0.0, 1.0] is of values: say depth_a, too"),
        (("depth_a=uint16", "fix=out"), "fix= writes images of 8 bits: leave it out with depth_a and depth_b"),
        (("depth_a=uint16", "range_a=[5,1]"), "should have limits, the lower one first"),
    ):
        outcome = typed("doctor", "data=set", *given)
        assert outcome.status == 1
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
