from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchlight.data.images import read_image
from patchlight.diagnosis.cleaning import check_target, write_copy
from patchlight.errors import ConfigError


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.getplugin(str(Path(__file__).with_name("conftest.py")))


def snapshot(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def spoil(root: Path, kit: Any) -> None:
    """One file for each thing that is put right, beside good ones."""
    a = root / "trainA"
    (a / "empty.png").write_bytes(b"")
    (a / "text.png").write_text("hello")
    kit.photo(301).crop((0, 0, 3, 3)).save(a / "small.png")
    kit.photo(302).convert("RGBA").save(a / "alpha.png")
    kit.photo(303).convert("L").save(a / "gray.jpg")
    kit.photo(304).convert("CMYK").save(a / "cmyk.jpg")
    kit.photo(305).quantize(64).save(a / "palette.png")
    kit.photo(306).save(a / "pages.tif", save_all=True, append_images=[kit.photo(307)])
    Image.fromarray(np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16)).save(a / "deep.png")
    Image.fromarray(np.linspace(0, 2, 4096).reshape(64, 64).astype(np.float32)).save(a / "float.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    kit.photo(308).save(a / "turned.jpg", exif=exif)
    shutil.copy(a / "A0.png", root / "testA" / "leak.png")
    shutil.copy(a / "A0.png", a / "twice.png")


def test_the_copy_has_none_of_what_was_found(domains: Path, tmp_path: Path, look: Any, kit: Any) -> None:
    spoil(domains, kit)
    before = snapshot(domains)
    diagnosis = look(domains, layout="unpaired", imbalance=9.0)
    changes = write_copy(diagnosis, tmp_path / "deep" / "copy", 8, lambda: None)
    assert snapshot(domains) == before, "never in place"
    after = snapshot(tmp_path / "deep" / "copy")
    assert look(tmp_path / "deep" / "copy", layout="unpaired", imbalance=9.0).findings == []
    deeds = {change.file: (change.deed, change.reasons, change.becomes) for change in changes}
    assert deeds == {
        "trainA/A0.png": ("left out", ("leak",), None),
        "trainA/twice.png": ("left out", ("leak",), None),
        "trainA/empty.png": ("left out", ("empty_file",), None),
        "trainA/text.png": ("left out", ("unreadable",), None),
        "trainA/small.png": ("left out", ("too_small",), None),
        "trainA/alpha.png": ("rewritten", ("alpha",), "trainA/alpha.png"),
        "trainA/gray.jpg": ("rewritten", ("mode",), "trainA/gray.png"),
        "trainA/cmyk.jpg": ("rewritten", ("mode",), "trainA/cmyk.png"),
        "trainA/palette.png": ("rewritten", ("palette",), "trainA/palette.png"),
        "trainA/pages.tif": ("rewritten", ("frames",), "trainA/pages.png"),
        "trainA/deep.png": ("rewritten", ("bit_depth", "mode"), "trainA/deep.png"),
        "trainA/float.tif": ("rewritten", ("bit_depth", "value_range", "mode"), "trainA/float.png"),
        "trainA/turned.jpg": ("rewritten", ("orientation",), "trainA/turned.png"),
    }
    for file, (deed, _, becomes) in deeds.items():
        if deed == "rewritten":
            pixels = np.asarray(read_image(tmp_path / "deep" / "copy" / becomes))
            assert np.array_equal(pixels, np.asarray(read_image(domains / file))), "as training reads it"
    assert {n: c for n, c in after.items() if n in before and n not in deeds} == {
        n: c for n, c in before.items() if n not in deeds
    }, "everything else bit by bit"
    listed = json.loads(after["changes.json"])
    assert listed["version"] == 1
    assert {"file": "trainA/gray.jpg", "deed": "rewritten", "reasons": ["mode"], "becomes": "trainA/gray.png"} in (
        listed["changes"]
    )
    assert len(listed["changes"]) == len(deeds)


def test_images_without_partner_and_partners_of_bad_ones(domains: Path, tmp_path: Path, look: Any, kit: Any) -> None:
    for path in sorted(domains.glob("*B/*")):
        path.rename(path.with_name(path.name.replace("B", "A")))
    (domains / "trainB" / "A4.png").unlink()
    (domains / "trainA" / "A2.png").write_bytes(b"")
    changes = write_copy(look(domains), tmp_path / "copy", 8, lambda: None)
    assert {c.file: c.reasons for c in changes} == {
        "trainA/A4.png": ("partner",), "trainA/A2.png": ("empty_file",), "trainB/A2.png": ("partner",),
    }  # fmt: skip
    assert look(tmp_path / "copy").findings == []


def test_label_maps_are_snapped_and_the_photo_beside_them_stays(tmp_path: Path, look: Any, kit: Any) -> None:
    root = tmp_path / "set"
    for split, first, number in (("train", 0, 10), ("val", 10, 2), ("test", 12, 2)):
        (root / split).mkdir(parents=True)
        for i in range(first, first + number):
            pair = kit.side_by_side(kit.photo(i, 128, 128), kit.label_map(i, 128, 128))
            pair.save(root / split / f"{i}.jpg", quality=80)
    diagnosis = look(root)
    assert diagnosis.labels == "B"
    assert set(kit.found(diagnosis)) == {"label_drift"}
    assert len(diagnosis.findings) == 14
    write_copy(diagnosis, tmp_path / "copy", 8, lambda: None)
    again = look(tmp_path / "copy")
    assert again.findings == []
    assert again.palette is not None
    assert again.palette.lossless
    assert len(again.palette.colours) == 4
    old, new = np.asarray(Image.open(root / "train" / "3.jpg")), np.asarray(Image.open(tmp_path / "copy/train/3.png"))
    assert np.array_equal(old[:, :128], new[:, :128])
    truth = np.asarray(kit.label_map(3, 128, 128)).astype(int)
    assert (np.abs(new[:, 128:] - truth).max(axis=2) <= 3).mean() > 0.99


def test_names_do_not_meet(domains: Path, tmp_path: Path, look: Any, kit: Any) -> None:
    kit.photo(310).convert("L").save(domains / "trainA" / "x.jpg")
    kit.photo(311).save(domains / "trainA" / "x.png")
    changes = write_copy(look(domains, layout="unpaired"), tmp_path / "copy", 8, lambda: None)
    assert [(c.file, c.becomes) for c in changes] == [("trainA/x.jpg", "trainA/x_jpg.png")]
    assert (tmp_path / "copy/trainA/x.png").read_bytes() == (domains / "trainA" / "x.png").read_bytes()


def test_folders_that_are_refused(domains: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(domains)
    for fix, message in (
        (domains, "is within data="), (domains / "new", "is within data="),
        (tmp_path / "link" / "x", "is within data="),
        (tmp_path, "holds data="), (tmp_path / "full", "is there and not empty"),
        (tmp_path / "full" / "mine.txt", "is there and not empty"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            check_target(fix, domains)
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty", domains)
    check_target(tmp_path / "new" / "er", domains)


def test_a_full_disk_leaves_nothing_behind(
    domains: Path, tmp_path: Path, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    diagnosis = look(domains)
    copyfile, done = shutil.copyfile, []

    def full(source: Any, target: Any) -> Any:
        done.append(target)
        if len(done) > 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(
        ConfigError, match=r"copy could not be written \(No space left on device\), and nothing is left"
    ):
        write_copy(diagnosis, tmp_path / "copy", 8, lambda: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["two"]
