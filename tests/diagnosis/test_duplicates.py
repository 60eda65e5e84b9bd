from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.getplugin(str(Path(__file__).with_name("conftest.py")))


def test_a_good_set_has_no_findings(pairs: Path, domains: Path, look: Any, kit: Any) -> None:
    assert look(pairs).findings == []
    assert look(domains).findings == []
    assert (look(pairs).stock.paired, look(domains).stock.paired) == (True, False)


def test_a_pair_of_the_training_in_the_test(pairs: Path, look: Any, kit: Any) -> None:
    shutil.copy(pairs / "train" / "3.png", pairs / "test" / "a.png")
    Image.open(pairs / "train" / "4.png").save(pairs / "val" / "b.tif")  # other bytes, same pixels
    shutil.copy(pairs / "train" / "5.png", pairs / "train" / "c.png")
    said = kit.found(look(pairs))
    assert set(said) == {"leak", "duplicate"}
    assert sorted(said["leak"]) == ["test/a.png is also train/3.png", "val/b.tif is also train/4.png"]
    assert said["duplicate"] == ["train/c.png has the same pixels as train/5.png"]


@pytest.mark.parametrize("change", ["jpeg", "mirrored", "brighter", "smaller"])
def test_nearly_the_same(change: str, domains: Path, look: Any, kit: Any) -> None:
    image = Image.open(domains / "trainB" / "B2.png")
    path = domains / "testB" / "x.png"
    if change == "jpeg":
        path = path.with_suffix(".jpg")
        image.save(path, quality=40)
    elif change == "mirrored":
        ImageOps.mirror(image).save(path)
    elif change == "brighter":
        Image.fromarray((np.asarray(image) * 0.95 + 8).clip(0, 255).astype(np.uint8)).save(path)
    else:
        image.resize((48, 48)).save(path)
    said = kit.found(look(domains))
    how = "the mirror image of " if change == "mirrored" else ""
    assert said["near_leak"][0].startswith(f"testB/{path.name} is nearly {how}trainB/B2.png (")
    assert set(said) == {"near_leak"} | ({"sizes"} if change == "smaller" else set())


def test_flat_label_maps_alone_are_no_leak(tmp_path: Path, look: Any, kit: Any) -> None:
    for split, first, number in (("train", 0, 6), ("val", 6, 2), ("test", 8, 2)):
        (tmp_path / split).mkdir()
        for i in range(first, first + number):
            same_map = kit.label_map(1)
            kit.side_by_side(kit.photo(i), same_map).save(tmp_path / split / f"{i}.png")
    diagnosis = look(tmp_path)
    assert diagnosis.labels == "B"
    assert diagnosis.findings == []
    kit.side_by_side(kit.photo(0), kit.label_map(5)).save(tmp_path / "test" / "x.png")
    assert kit.found(look(tmp_path)) == {
        "one_side": ["test/x.png and train/0.png have the same A, but different partners of it"]
    }


def test_pairs_of_the_same_image_and_images_of_both_domains(pairs: Path, domains: Path, look: Any, kit: Any) -> None:
    kit.side_by_side(kit.photo(50), kit.photo(50)).save(pairs / "train" / "x.png")
    assert kit.found(look(pairs)) == {"twins": ["train/x.png has the same image as A and as B"]}
    shutil.copy(domains / "trainA" / "A1.png", domains / "trainB" / "x.png")
    assert kit.found(look(domains)) == {"both_domains": ["trainB/x.png has the same pixels as trainA/A1.png"]}
