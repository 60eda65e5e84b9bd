from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from patchlight.diagnosis.inventory import scan
from patchlight.errors import ConfigError


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.getplugin(str(Path(__file__).with_name("conftest.py")))


def test_the_images_of_each_split_are_counted(pairs: Path, domains: Path) -> None:
    assert scan(pairs, "auto").counts() == {
        "train": {"A": 6, "B": 6}, "val": {"A": 2, "B": 2}, "test": {"A": 2, "B": 2},
    }  # fmt: skip
    stock = scan(domains, "auto")
    assert stock.counts()["train"] == {"A": 5, "B": 5}
    assert (stock.layout, stock.paired) == ("folders", False)


def test_partners(domains: Path, look: Any, kit: Any) -> None:
    for path in sorted((domains).glob("*B/*")):
        path.rename(path.with_name(path.name.replace("B", "A")))
    (domains / "trainB" / "A4.png").unlink()
    shutil.copy(domains / "trainA" / "A0.png", domains / "trainA" / "A0.bmp")
    kit.photo(3, 64, 80).save(domains / "trainB" / "A1.png")
    said = kit.found(look(domains))
    assert said["partner"] == ["trainA/A4.png has no partner in trainB"]
    assert said["same_name"] == ["trainA/A0.bmp and trainA/A0.png have the same name, so their partner is not clear"]
    assert said["pair_size"] == ["trainA/A1.png (64x64) and trainB/A1.png (80x64) are a pair"]
    assert "partner" not in kit.found(look(domains, layout="unpaired"))


def test_odd_width(pairs: Path, look: Any, kit: Any) -> None:
    kit.photo(60, 64, 127).save(pairs / "train" / "x.png")
    said = kit.found(look(pairs))
    assert said["odd_width"] == ["train/x.png is 127 pixels wide, so it has no two equal halves"]


def test_imbalance(domains: Path, look: Any, kit: Any) -> None:
    for i in range(8):
        kit.photo(200 + i).save(domains / "trainA" / f"more{i}.png")
    assert kit.found(look(domains)) == {"imbalance": ["train has 13 images in A and 5 in B"]}
    assert kit.found(look(domains, imbalance=3.0)) == {}


def test_folders_that_make_no_set(tmp_path: Path, look: Any, kit: Any) -> None:
    with pytest.raises(ConfigError, match=r"data=.*nowhere is not a folder: give the folder of the image set"):
        look(tmp_path / "nowhere")
    (tmp_path / "Train").mkdir()
    kit.photo(0).save(tmp_path / "Train" / "0.png")
    said = kit.found(look(tmp_path))
    assert said["layout"][0].endswith(
        "has no training images: it should hold train/ (pairs side by side), or trainA/ and trainB/"
    )
    assert said["unused"] == ["Train/ holds images that no split takes"]
    (tmp_path / "trainA").mkdir()
    assert "trainA is there but" in kit.found(look(tmp_path))["layout"][0]
    (tmp_path / "trainB").mkdir()
    said = kit.found(look(tmp_path))
    assert [text.split(" has no files")[0] for text in said["empty_split"]] == ["trainA", "trainB"]


def test_names_that_differ_in_case(domains: Path, look: Any, kit: Any) -> None:
    kit.photo(90).save(domains / "trainA" / "a0.png")
    assert kit.found(look(domains))["name"] == ["trainA/A0.png and trainA/a0.png differ in case only"]


def test_links_to_nowhere_beside_good_ones(domains: Path, look: Any, kit: Any) -> None:
    (domains / "trainA" / "x.png").symlink_to(domains / "trainA" / "gone.png")
    kit.photo(91).save(domains / "elsewhere.png")
    (domains / "trainA" / "y.png").symlink_to(domains / "elsewhere.png")
    assert kit.found(look(domains)) == {"link": ["trainA/x.png is a link to nowhere, or to itself"]}
    with Image.open(domains / "trainA" / "y.png") as image:
        assert image.size == (64, 64)
