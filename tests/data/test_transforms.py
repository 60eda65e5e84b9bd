from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from golden import files, load
from patchlight.data.images import to_array, to_float, to_planes
from patchlight.data.loading import sample_rng
from patchlight.data.transforms import Geometry, Placement, apply
from patchlight.errors import DataError

RNG = np.random.default_rng(0)
PATH = Path("image.png")


def picture(h: int, w: int, j: int, u: Any) -> Image.Image:
    """The source image of the preprocessing goldens, by their formula."""
    coarse = u(192, 400000 + j).reshape(3, 8, 8)
    rows, columns = np.arange(h) * 8 // h, np.arange(w) * 8 // w
    coarse = coarse[:, rows][:, :, columns]
    fine = u(3 * h * w, 500000 + j).reshape(3, h, w)
    values = np.floor(127.5 + 127.5 * (0.8 * coarse + 0.2 * fine) + 0.5).clip(0, 255)
    return Image.fromarray(values.astype(np.uint8).transpose(1, 2, 0))


def test_preprocessing_equals_the_references(shared: Path, subtests: pytest.Subtests) -> None:
    for path in files("preprocess", shared):
        with subtests.test(path.stem):
            golden = load(path)
            o, source = golden.options, golden.meta["image"]
            image = picture(source["h"], source["w"], source["j"], golden.formula.u)
            array = to_array(image.convert("L") if o["grayscale"] else image)
            geometry = Geometry(o["preprocess"], (o["load_size"],) * 2, (o["crop_size"],) * 2, flip=False, random=False)
            placed = geometry.place((image.height, image.width), RNG, PATH)
            height, width = placed.resize
            left, top = o["crop_pos"]
            size = o["crop_size"]
            box = (left, top, left + size, top + size) if "crop" in o["preprocess"] else (0, 0, width, height)
            tensor = to_float(to_planes(apply(Placement(placed.resize, box, o["flip"]), array)))
            assert list(tensor.shape) == golden.meta["out_shape"]
            values = np.round((tensor.numpy() + 1) * 127.5)[:, ::2, ::2]
            np.testing.assert_array_equal(values, golden["out_u8_stride2"])
            assert tensor.double().mean().item() == pytest.approx(float(golden["mean"]), abs=1e-6)
            assert tensor.double().std(correction=0).item() == pytest.approx(float(golden["std"]), rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("resize_and_crop", (50, 70), (36, 36)),
        ("crop", (50, 70), (50, 70)),
        ("scale_width", (50, 100), (32, 36)),
        ("scale_width", (200, 100), (72, 36)),
        ("scale_width", (40, 36), (40, 36)),
        ("scale_width_and_crop", (100, 100), (36, 36)),
        ("none", (50, 70), (48, 72)),
        ("none", (1, 4), (4, 4)),
    ],
)
def test_sizes_after_resizing(mode: Any, size: tuple[int, int], expected: tuple[int, int]) -> None:
    placement = Geometry(mode, (36, 36), (32, 32), flip=False).place(size, RNG, PATH)
    assert placement.resize == expected
    left, top, right, bottom = placement.box
    assert (bottom - top, right - left) == ((32, 32) if "crop" in mode else expected)


def test_every_crop_position_and_both_flips_occur() -> None:
    geometry = Geometry("resize_and_crop", (34, 35), (32, 32), flip=True)
    drawn = {geometry.place((9, 9), sample_rng(0, 0, i), PATH) for i in range(400)}
    assert {(p.box[0], p.box[1], p.flip) for p in drawn} == {
        (x, y, f) for x in range(4) for y in range(3) for f in (True, False)
    }


def test_evaluation_is_not_random() -> None:
    geometry = Geometry("resize_and_crop", (286, 286), (256, 256), flip=True).for_evaluation()
    assert geometry.place((500, 400), RNG, PATH) == Placement((256, 256), (0, 0, 256, 256), flip=False)
    geometry = Geometry("crop", (286, 286), (100, 100), flip=True).for_evaluation()
    assert geometry.place((200, 300), RNG, PATH) == Placement((200, 300), (100, 50, 200, 150), flip=False)


def test_a_crop_that_does_not_fit() -> None:
    with pytest.raises(
        DataError, match=r"image.png is 300x100 pixels, too small for a crop of 256x256: lower data.image_size, or use"
    ):
        Geometry("crop", (286, 286), (256, 256), flip=False).place((100, 300), RNG, PATH)
    with pytest.raises(DataError, match=r"is 128x128 pixels after resizing, .* lower data.image_size, raise data.load"):
        Geometry("scale_width_and_crop", (128, 128), (96, 256), flip=False).place((300, 300), RNG, PATH)


def test_flip_mirrors() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    flipped = apply(Placement((3, 4), (0, 0, 4, 3), flip=True), image)
    assert np.array_equal(flipped, image[:, ::-1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(286, 286), (143, 60), (200, 320), (64, 500)])
def test_crops_are_cut_from_the_whole_image_as_pillow_resizes_it(size: tuple[int, int], channels: int) -> None:
    pair = np.random.default_rng(0).integers(0, 256, (200, 640, channels), np.uint8)
    half = pair[:, 320:]  # a view, as the halves of side-by-side files are
    picture = Image.fromarray(half[:, :, 0] if channels == 1 else half)
    expected = np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, channels)
    result = apply(Placement(size, (7, 3, 55, 60), flip=True), half)
    np.testing.assert_array_equal(result, expected[3:60, 7:55][:, ::-1])


def test_an_image_of_the_size_that_is_asked_for_is_not_copied() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    assert np.shares_memory(apply(Placement((20, 30), (1, 2, 11, 12), flip=False), image), image)
