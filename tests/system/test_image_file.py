"""The door at which image files come in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

import patchlight
from patchlight.data.images import read_image
from patchlight.data.sources import read_header
from patchlight.diagnosis.inventory import Item
from patchlight.diagnosis.reading import read_facts
from patchlight.errors import DataError
from patchlight.inference.files import announced_pixels, read_pixels
from patchlight.page.intake import Limits, read_upload
from patchlight.reporting.pictures import _embed, _pixels
from patchlight.system import image_file

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 28\n%%EndComments\nshowpage\n%%EOF\n"

DOORS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "train": (read_image, "cannot identify image file"),
    "headers": (read_header, "cannot identify image file"),
    "translate": (read_pixels, "cannot identify image file"),
    "translate, size": (announced_pixels, None),
    "doctor": (lambda path: read_facts(Item("train", "A", path, path.name, path.stem), {}), None),
    "page": (lambda path: read_upload(path, Limits(2**20, 10**6)), "cannot be read as an image: give PNG"),
    "report, comparison": (_pixels, None),
    "report, picture": (lambda path: _embed(path, 96, "a picture"), None),
}
"""What reads an image file, and what it says of one that it does not read; some say it elsewhere."""


@pytest.mark.parametrize("door", DOORS)
def test_no_door_starts_ghostscript(door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    ghostscript = programs / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it is looked for once
    path = tmp_path / "drawing.png"
    path.write_bytes(EPS)
    read, said = DOORS[door]
    if said is None:
        read(path)
    else:
        with pytest.raises(DataError, match=said):
            read(path)
    assert not (tmp_path / "started").exists()


def test_there_is_no_other_door() -> None:
    """Whatever opens images by content that is not chosen here is called in this one file."""
    others = re.compile(
        r"Image\.open\b|ImageFile\.Parser|\bimread|imdecode|imreadmulti|VideoCapture|decode_image|decode_jpeg|"
        r"decode_png|torchvision\.io|imageio|tifffile|plt\.imread|iio\.|skimage|default_loader|ImageFolder"
    )
    root = Path(patchlight.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if others.search(path.read_text(encoding="utf-8"))
    }
    found.remove("exporting/card.py")  # the text of a model card, which shows its readers how
    assert found == {"system/image_file.py"}
    opened = re.findall(r"Image\.open\((.*)\)", Path(image_file.__file__).read_text(encoding="utf-8"))
    assert len(opened) == 2
    assert all("formats=" in arguments for arguments in opened)


@pytest.mark.parametrize("kind", image_file.FORMATS)
def test_every_format_is_read_by_its_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (8, 6), 77).save(path, kind)
    with image_file.open_image(path) as file:
        assert (file.format, file.size) == (kind, (8, 6))


@pytest.mark.parametrize("kind", ["JPEG2000", "ICO", "TGA", "PCX", "SGI", "EPS", "DDS", "IM", "PDF"])
def test_other_formats_of_pillow_are_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(path, kind)
    with (
        pytest.raises(DataError, match=r"image.png cannot be read as an image \(cannot identify image file"),
        image_file.open_image(path),
    ):
        pass


def test_opencv_is_given_only_what_begins_as_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(suffix: str) -> bytes:
        return cv2.imencode(suffix, np.zeros((4, 4, 3), np.uint16 if suffix == ".png" else np.uint8))[1].tobytes()

    png, bmp, jpeg = encoded(".png"), encoded(".bmp"), encoded(".jpg")
    assert image_file.decode_unchanged(png, "PNG").dtype == np.uint16  # type: ignore[union-attr]
    seen = []
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: seen.append(bytes(content[:2])))
    for content in (bmp, jpeg, b"#?RADIANCE\n", b"\x76\x2f\x31\x01", b"v/1\1", b"GIF89a", b""):
        assert image_file.decode_unchanged(content, "PNG") is None
        assert image_file.decode_unchanged(content, "TIFF") is None
        (tmp_path / "image.jpg").write_bytes(content)
        image_file.try_jpegs([str(tmp_path / "image.jpg"), str(tmp_path / "missing.jpg")])
    assert seen == [jpeg[:2]]


def test_content_in_memory_is_of_the_formats_that_are_asked_for() -> None:
    stream = io.BytesIO()
    Image.new("L", (3, 2), 9).save(stream, "BMP")
    with image_file.open_content(stream.getvalue(), "the drawing") as file:
        assert file.size == (3, 2)
    with (
        pytest.raises(DataError, match="the drawing cannot be read as an image"),
        image_file.open_content(stream.getvalue(), "the drawing", formats=("PNG",)),
    ):
        pass
