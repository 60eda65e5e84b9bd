from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from patchlight.data import ImageDataModule
from patchlight.data.sources import read_header
from patchlight.errors import DataError


def setup(root: Path, pairing: Any = "paired", **settings: Any) -> None:
    defaults: dict[str, Any] = {"load_size": 20, "image_size": 16, "num_workers": 0, "val_size": 0}
    ImageDataModule(**({"root": root, "pairing": pairing} | defaults | settings)).setup()


def test_a_header_is_that_of_the_upright_image(tmp_path: Path, save: Any) -> None:
    path = save("x.png", 20, 40)
    header = read_header(path)
    assert (header.format, header.mode, header.width, header.height, header.orientation) == ("PNG", "RGB", 40, 20, 1)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(path).save(tmp_path / "x.jpg", exif=exif)
    header = read_header(tmp_path / "x.jpg")
    assert (header.width, header.height, header.orientation) == (20, 40, 8)


def test_one_bad_file_is_told_before_anything_is_decoded(tmp_path: Path, save: Any) -> None:
    save("train/a.png")
    save("train/b.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        setup(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/train/b.png has no bytes: replace or remove it (all at once: patchlight-doctor data={tmp_path})"
    )
    (tmp_path / "train" / "b.png").write_text("text")
    with pytest.raises(DataError, match=r"b.png cannot be read as an image \(cannot identify image file"):
        setup(tmp_path)


def test_five_files_are_named_and_the_others_counted(tmp_path: Path, save: Any) -> None:
    save("train/good.png")
    for i in range(7):
        save(f"train/{i}.png").write_bytes(b"")
    save("test/odd.png", 24, 47)
    with pytest.raises(DataError) as caught:
        setup(tmp_path)
    said = str(caught.value)
    train = tmp_path / "train"
    assert said.startswith(
        f"{train}/0.png has no bytes: replace or remove it; likewise {train}/1.png, {train}/2.png, {train}/3.png, "
        f"{train}/4.png and 2 more. {tmp_path}/test/odd.png is 47 pixels wide"
    )
    assert "\n" not in said


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_is_judged_as_it_will_be_read(split: str, tmp_path: Path, save: Any) -> None:
    save("train/a.png", 40, 80)
    save(f"{split}/small.png", 18, 36)
    settings = {"preprocess": "crop", "image_size": 20}
    with pytest.raises(DataError, match=r"small.png is 18x18 pixels, too small for a crop of 20x20: lower data.image"):
        setup(tmp_path, **settings)
    setup(tmp_path, preprocess="crop", image_size=18)


def test_what_is_not_used_is_not_judged(tmp_path: Path, save: Any) -> None:
    save("train/a.png")
    save("train/b.png").write_bytes(b"")
    setup(tmp_path, max_train=1)


def test_pairs_turned_by_exif(tmp_path: Path, save: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save("trainA/x.png", 24, 30)
    Image.open(save("trainB/x.png", 30, 24)).save(tmp_path / "trainB" / "x.png", exif=exif)
    setup(tmp_path)
    save("trainB/x.png", 30, 24)
    with pytest.raises(DataError, match=r"trainA/x.png \(30x24\) and .*trainB/x.png \(24x30\) are a pair of different"):
        setup(tmp_path)


def test_no_random_state_is_drawn_from(tmp_path: Path, save: Any) -> None:
    import numpy as np

    for i in range(3):
        save(f"train/{i}.png")
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    setup(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numbers  # type: ignore[index, union-attr]
