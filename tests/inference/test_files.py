"""What image files hold is what is read of them, and what is written is what comes back."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from patchlight.data.images import read_image, to_array
from patchlight.errors import DataError
from patchlight.inference.files import read_pixels, write_pixels
from patchlight.inference.pixels import Pixels, from_image

Draw = Callable[..., Image.Image]


KINDS = {
    "gray": ("L", "a.png"), "bits": ("1", "a.png"), "gray with alpha": ("LA", "a.png"), "colour": ("RGB", "a.png"),
    "alpha": ("RGBA", "a.png"), "palette": ("P", "a.png"), "transparent palette": ("P", "transparent.png"),
    "gray jpeg": ("L", "a.jpg"), "jpeg": ("RGB", "a.JPEG"), "cmyk jpeg": ("CMYK", "a.jpg"), "cmyk": ("CMYK", "a.tif"),
    "tiff with alpha": ("RGBA", "a.tiff"), "webp": ("RGB", "a.webp"), "webp with alpha": ("RGBA", "a.webp"),
    "bitmap": ("RGB", "a.bmp"), "portable": ("RGB", "a.ppm"), "portable gray": ("L", "a.pgm"),
}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_sees_what_training_saw(kind: str, channels: int, picture: Draw, tmp_path: Path) -> None:
    mode, name = KINDS[kind]
    image = picture(40, 30)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize((40, 30)))
    path = tmp_path / name
    image.convert(mode).save(path, **({"transparency": 3} if "transparent" in kind else {}))
    pixels = read_pixels(path)
    assert pixels.colour.dtype == np.uint8
    assert (pixels.alpha is not None) is ("alpha" in kind or "transparent" in kind)
    # Decoders of JPEG may differ by a level.
    seen, trained = pixels.for_network(channels).astype(int), to_array(read_image(path, channels)).astype(int)  # type: ignore[arg-type]
    assert np.abs(seen - trained).max() <= ("jpeg" in kind)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation_is_honoured(orientation: int, name: str, picture: Draw, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(40, 30).save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    pixels = read_pixels(tmp_path / name)
    expected = to_array(read_image(tmp_path / name)).astype(int)
    assert pixels.size == ((30, 40) if orientation < 5 else (40, 30))
    assert np.abs(pixels.colour.astype(int) - expected).max() <= 1
    with Image.open(tmp_path / name) as image:
        assert np.array_equal(from_image(image).colour, pixels.colour)


def deep(channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.random.default_rng(0).integers(0, 65536, (30, 40, channels), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_sixteen_bits_are_written_and_read(suffix: str, channels: int, with_alpha: bool, tmp_path: Path) -> None:
    pixels = Pixels(deep(channels), deep(1)[:, :, 0] if with_alpha else None)
    path = tmp_path / f"a{suffix}"
    write_pixels(path, pixels)
    found = read_pixels(path)
    wanted = pixels.for_network(3)
    assert found.is_16bit
    assert np.array_equal(found.for_network(3), wanted)
    if with_alpha:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, pixels.alpha)  # type: ignore[arg-type]
    # By another program.
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert raw is not None
    assert raw.dtype == np.uint16
    if channels == 3:
        assert np.array_equal(raw[:, :, 2::-1], pixels.colour)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_upright_deep_png(orientation: int, tmp_path: Path) -> None:
    write_pixels(tmp_path / "a.png", Pixels(deep(3)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = (tmp_path / "a.png").read_bytes()
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])  # after the header
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    assert np.array_equal(read_pixels(tmp_path / "a.png").colour, np.rot90(deep(3), turns))


def test_floating_point_is_in_0_to_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1, 0, 0.5, 1, 2]], np.float32)).save(tmp_path / "a.tif")
    assert read_pixels(tmp_path / "a.tif").array().tolist() == [[0, 0, 32768, 65535, 65535]]


def test_16_bits_become_gray_by_luma_and_lie_on_white() -> None:
    colour = np.array([[[65535, 0, 0], [0, 65535, 0]]], np.uint16)
    assert Pixels(colour).for_network(1)[0, :, 0].tolist() == [19595, 38469]
    clear = Pixels(colour, np.array([[0, 65535]], np.uint16)).for_network(3)
    assert clear.tolist() == [[[65535] * 3, [0, 65535, 0]]]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_eight_bits_are_written(name: str, picture: Draw, tmp_path: Path) -> None:
    array = np.asarray(picture(40, 30))
    write_pixels(tmp_path / "new" / name, Pixels(array))
    with Image.open(tmp_path / "new" / name) as image:
        assert image.format == {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper())
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - array).mean()
    assert difference <= (4 if name in ("a.jpg", "a.webp") else 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_what_a_format_cannot_hold(picture: Draw, tmp_path: Path) -> None:
    eight = np.asarray(picture(40, 30))
    with pytest.raises(DataError, match="it has transparency, which jpg cannot hold: use format=png"):
        write_pixels(tmp_path / "a.jpg", Pixels(eight, eight[:, :, 0]))
    with pytest.raises(DataError, match="it has 16 bits, which webp cannot hold: use format=png or format=tif"):
        write_pixels(tmp_path / "a.webp", Pixels(deep(3)))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"its result .*file/a.png cannot be written \((File exists|Not a directory)\)"):
        write_pixels(tmp_path / "file" / "a.png", Pixels(eight))


def test_what_cannot_be_read(picture: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"it cannot be read as an image \(No such file or directory\)"):
        read_pixels(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match=r"it cannot be read as an image \(cannot identify image file"):
        read_pixels(tmp_path / "text.png")
    picture(400, 300).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"it cannot be read as an image \(image file is truncated"):
        read_pixels(tmp_path / "cut.jpg")
    write_pixels(tmp_path / "deep.png", Pixels(deep(3)))
    (tmp_path / "deep.png").write_bytes((tmp_path / "deep.png").read_bytes()[:3000])
    with pytest.raises(DataError, match="it cannot be read as an image"):
        read_pixels(tmp_path / "deep.png")
    picture(40, 30).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="it is too large to be decoded safely"):
        read_pixels(tmp_path / "bomb.png")
