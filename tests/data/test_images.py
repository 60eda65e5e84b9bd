from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from golden import load
from patchlight.data import ImageDataModule
from patchlight.data.decoding import Decoding
from patchlight.data.image_files import is_image, open_picture
from patchlight.data.images import (
    read_image,
    to_array,
    to_float,
    to_levels,
    to_planes,
    to_uint8,
    write_image,
)
from patchlight.data.sources import Folders
from patchlight.data.sources.folders import SideBySide
from patchlight.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def stored(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_rgb_and_gray_pass_through(tmp_path: Path) -> None:
    rgb = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
    path = stored(tmp_path, Image.fromarray(rgb))
    assert np.array_equal(to_array(read_image(path)), rgb)
    gray = to_array(read_image(path, 1))
    assert gray.shape == (16, 16, 1)
    weighted = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[:, :, 0] - weighted).max() <= 0.51
    path = stored(tmp_path, Image.fromarray(RAMP), "gray.png")
    assert np.array_equal(to_array(read_image(path)), np.repeat(RAMP[:, :, None], 3, axis=2))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "LA", "RGBA", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    gray = Image.fromarray(RAMP)
    match mode:
        case "I;16":
            image, tolerance = Image.fromarray(RAMP.astype(np.uint16) * 257), 0
        case "F":
            image, tolerance = Image.fromarray(RAMP.astype(np.float32) / 255), 0
        case "1":
            image, tolerance = gray.point(lambda v: 255 * (v > 127)).convert("1"), 0
        case "P":
            image, tolerance = gray.convert("P"), 0
        case _:
            image, tolerance = gray.convert("RGB").convert(mode), 1
    path = stored(tmp_path, image, "image.tif")
    expected = (RAMP > 127) * 255 if mode == "1" else RAMP
    for channel in to_array(read_image(path)).transpose(2, 0, 1):
        assert np.abs(channel.astype(int) - expected).max() <= tolerance


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 255, 128, 0
    values = to_array(read_image(stored(tmp_path, Image.fromarray(pixels, "RGBA"))))[0, :, 0]
    assert values.tolist() == [0, 127, 255]
    black = Image.new("RGB", (2, 1))
    for channels in (1, 3):
        path = stored(tmp_path, black, "marked.png", transparency=(0, 0, 0))
        assert to_array(read_image(path, channels)).min() == 255, "a colour can be marked as transparent"


def test_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.repeat(RAMP[:8, :, None], 3, axis=2))
    path = stored(tmp_path, image, "turned.png", exif=exif)
    assert np.array_equal(to_array(read_image(path)), np.rot90(to_array(image), k=-1))


def test_damage_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, Image.effect_noise((64, 64), 90), "half.jpg")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"half.jpg cannot be read as an image \(.*\): replace or remove it"):
        read_image(path)
    for name, content in (("empty.png", b""), ("text.jpg", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match=r"nowhere.png cannot be read"):
        read_image(tmp_path / "nowhere.png")


def test_no_damage_gets_through(tmp_path: Path) -> None:
    """A file with changed bytes or a missing end is either read or refused by its name, whatever the decoder raises."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    refused = []
    for suffix in ("png", "jpg", "bmp", "webp", "ppm"):
        path = stored(tmp_path, Image.effect_noise((40, 30), 90).convert("RGB"), f"x.{suffix}", exif=exif)
        whole = path.read_bytes()
        for trial in range(80):
            data = bytearray(whole[: rng.integers(len(whole))] if trial % 4 == 0 else whole)
            for _ in range(3):
                if data:
                    data[rng.integers(min(len(data), 120))] = rng.integers(256)
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's remarks about damaged metadata
                try:
                    assert read_image(path).mode == "RGB"
                except DataError as error:
                    refused.append(str(error))
    assert len(refused) > 100
    assert all(str(tmp_path / "x.") in message and "\n" not in message for message in refused)


def test_an_error_of_any_kind_while_decoding_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image, *, in_place: bool) -> None:
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    with pytest.raises(DataError, match=r"image.png cannot be read as an image \(required argument"):
        read_image(stored(tmp_path, Image.fromarray(RAMP)))


def test_reading_leaves_pythons_memory_of_warnings_alone(tmp_path: Path) -> None:
    path = stored(tmp_path, Image.fromarray(RAMP))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            read_image(path)
            warnings.warn("said once", stacklevel=1)
    assert [str(w.message) for w in seen] == ["said once"]


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, Image.fromarray(RAMP))
    for limit in (200, 20):  # over the limit is a warning to Pillow, over twice the limit an error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"image.png is too large to be decoded safely"):
            read_image(path)


def test_values_at_both_doors(tmp_path: Path) -> None:
    tensor = to_float(to_planes(RAMP[:, :, None]))
    assert tensor.shape == (1, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert tensor[0, 7, 15].item() == pytest.approx((127 / 255 - 0.5) / 0.5, abs=1e-7)
    assert torch.equal(tensor.ravel(), torch.arange(256).float().div(255).sub(0.5).div(0.5)), "to the bit"
    write_image(tmp_path / "out.png", torch.tensor([[[-3.0, -1.0, 0.0, 1.0, 3.0]]]))
    assert to_array(read_image(tmp_path / "out.png", 1)).ravel().tolist() == [0, 0, 127, 255, 255]
    assert to_uint8(torch.tensor([[[float("nan"), float("inf"), -float("inf")]]])).ravel().tolist() == [0, 255, 0]
    write_image(tmp_path / "rgb.png", to_float(to_planes(np.stack([RAMP] * 3, axis=2))))
    assert np.abs(to_array(read_image(tmp_path / "rgb.png"))[:, :, 1].astype(int) - RAMP).max() <= 1


def test_every_level_passes_both_doors() -> None:
    """Those of 16 bits come back; of 8 bits some are one darker, as in the reference code, unless they are rounded."""
    for full in (255, 65535):
        levels = torch.arange(full + 1, dtype=torch.int32)
        values = to_float(levels, full)
        assert torch.equal(values, levels.float().div(full).sub(0.5).div(0.5)), "to the bit"
        assert torch.equal(to_levels(values, full, nearest=True).int(), levels)
    deep = to_levels(to_float(levels, full), full)
    assert torch.equal(deep, levels)
    truncated = to_levels(to_float(torch.arange(256))).int() - torch.arange(256)
    assert truncated.unique().tolist() == [-1, 0]
    assert to_levels(torch.tensor([0.99999, float("nan"), -3.0, 3.0]), full).tolist() == [65535, 0, 0, 65535]


def test_truncation_is_the_references(shared: Path) -> None:
    golden = load(shared / "golden" / "tensor2im__c3.npz")
    assert np.array_equal(to_uint8(torch.from_numpy(golden["input"][0])), golden["out"])


@pytest.mark.parametrize(("name", "yes"), [("a.PNG", True), ("b.jpeg", True), (".c.png", False), ("d.txt", False)])
def test_names(name: str, yes: bool) -> None:
    assert is_image(Path(name)) is yes


def test_a_jpeg_decoded_smaller(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = Image.fromarray(colours).resize((768, 512), Image.Resampling.BICUBIC)
    whole.save(tmp_path / "x.jpg", quality=95)
    whole.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    whole.save(tmp_path / "x.png")
    for name, at_least, expected in (
        ("x.jpg", (512, 768), (768, 512)), ("x.jpg", (130, 100), (384, 256)), ("x.jpg", (64, 96), (96, 64)),
        ("x.jpg", (65, 96), (192, 128)), ("turned.jpg", (192, 100), (128, 192)), ("x.png", (64, 96), (768, 512)),
    ):  # fmt: skip
        image = open_picture(tmp_path / name, at_least)
        assert image.size == expected, (name, at_least)
        upright = whole.transpose(Image.Transpose.ROTATE_270) if name == "turned.jpg" else whole
        reduced = upright.resize(expected, Image.Resampling.BOX)
        assert np.abs(np.asarray(image).astype(int) - np.asarray(reduced)).mean() < 3


def test_a_set_whose_jpegs_are_decoded_smaller(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    whole = Image.fromarray(colours).resize((128, 128), Image.Resampling.BICUBIC)
    for folder, suffix in (("trainA", "jpg"), ("trainB", "png")):
        (tmp_path / folder).mkdir()
        whole.save(tmp_path / folder / f"x.{suffix}")
    settings: dict[str, Any] = {"root": tmp_path, "num_workers": 0, "val_size": 0, "flip": False}

    def batch(**more: Any) -> Any:
        data = ImageDataModule(**settings, image_size=32, load_size=32, **more)
        data.setup("fit")
        return next(iter(data.train_dataloader()))

    plain, fast = batch(), batch(fast_jpeg=True)
    assert torch.equal(plain["B"], fast["B"])
    difference = (plain["A"].int() - fast["A"].int()).abs()
    assert 0 < difference.max() < 16
    with pytest.raises(DataError, match="data.fast_jpeg=true is of image files with data.preprocess=resize_and_crop"):
        ImageDataModule(**settings, fast_jpeg=True, preprocess="crop")


@pytest.mark.parametrize(("width", "halves_at"), [(1028, 514), (1032, 516), (1040, 130)])
def test_pairs_side_by_side_are_decoded_smaller_only_where_their_middle_stays(
    width: int, halves_at: int, tmp_path: Path
) -> None:
    """A quarter of 1028 pixels has its middle in a pixel; an eighth of 1032 would, so it keeps its size, too."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    Image.fromarray(colours).resize((width, 512), Image.Resampling.BICUBIC).save(tmp_path / "x.jpg")
    (tmp_path / "train").mkdir()
    (tmp_path / "x.jpg").rename(tmp_path / "train/x.jpg")
    size = (128, 128)
    whole = Folders(tmp_path)(split="train")
    fast = Folders(tmp_path).decoded_as(Decoding(at_least=size), Decoding(at_least=size))(split="train")
    assert isinstance(whole, SideBySide)
    assert isinstance(fast, SideBySide)
    for own, smaller in zip(map(np.asarray, whole.read(0)), map(np.asarray, fast.read(0)), strict=True):
        assert smaller.shape[1] == halves_at
        if halves_at == width // 2:
            assert np.array_equal(own, smaller)
