from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patchlight.data.sources import Domains, ImageRef, cut_validation, domains_of
from patchlight.data.sources.folders import Files, Folders, SideBySide
from patchlight.errors import DataError


def names(images: tuple[ImageRef, ...]) -> list[str]:
    return [Path(image.key).name for image in images]


def find_split(root: Path, split: Any, pairing: Any, layout: Any) -> Domains:
    return domains_of(Folders(root, pairing, layout)(split=split), pairing)


def require_root(root: Path, pairing: Any, layout: Any) -> None:
    Folders(root, pairing, layout).require_training_images()


def test_side_by_side(tmp_path: Path, save: Any) -> None:
    for name in ("train/b.png", "train/a.jpg", "train/deep/c.png", "train/.hidden.png"):
        save(name)
    (tmp_path / "train" / "notes.txt").write_text("no image")
    found = find_split(tmp_path, "train", "paired", "auto")
    assert names(found.a) == names(found.b) == ["a.jpg", "b.png", "c.png"]
    assert [(a.side, b.side) for a, b in zip(found.a, found.b, strict=True)] == [(0, 1)] * 3
    assert [a.record for a in found.a] == [b.record for b in found.b]
    assert len(find_split(tmp_path, "test", "paired", "auto")) == 0
    unpaired = find_split(tmp_path, "train", "unpaired", "auto")
    assert (names(unpaired.a), [b.side for b in unpaired.b]) == (names(found.a), [1, 1, 1])


def test_folders_are_matched_by_stem(tmp_path: Path, save: Any) -> None:
    for name in ("trainA/2.png", "trainA/1.jpg", "trainB/1.png", "trainB/2.png"):
        save(name)
    found = find_split(tmp_path, "train", "paired", "auto")
    assert names(found.a) == ["1.jpg", "2.png"]
    assert names(found.b) == ["1.png", "2.png"]
    save("trainA/3.png")
    with pytest.raises(DataError, match=r"3.png without a partner of the same name in .*trainB"):
        find_split(tmp_path, "train", "paired", "auto")
    assert names(find_split(tmp_path, "train", "unpaired", "auto").a) == ["1.jpg", "2.png", "3.png"]
    save("trainB/3.png")
    save("trainB/3.jpg")
    with pytest.raises(DataError, match=r"3.jpg and .*3.png have the same name"):
        find_split(tmp_path, "train", "paired", "auto")


def test_many_without_partner_are_counted(tmp_path: Path, save: Any) -> None:
    for i in range(8):
        save(f"trainA/{i}.png")
    save("trainB/0.png")
    with pytest.raises(DataError, match="5.png and 2 more without a partner"):
        find_split(tmp_path, "train", "paired", "auto")


def test_nested_folders(tmp_path: Path, save: Any) -> None:
    for name in ("A/train/1.png", "B/train/1.png"):
        save(name)
    assert len(find_split(tmp_path, "train", "paired", "auto")) == 1


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_half_a_split_is_not_passed_over(pairing: Any, split: Any, tmp_path: Path, save: Any) -> None:
    for layout in (f"{split}B", f"B/{split}"):
        save(f"{layout[0]}-root/{layout}/1.png")
        with pytest.raises(DataError, match=f"{layout} is there but .*{layout.replace('B', 'A')} is not: a split in"):
            find_split(tmp_path / f"{layout[0]}-root", split, pairing, "auto")


def test_hidden_folders_are_not_read(tmp_path: Path, save: Any) -> None:
    for name in ("train/1.png", "train/.ipynb_checkpoints/1-checkpoint.png", "train/._1.png"):
        save(name)
    assert names(find_split(tmp_path, "train", "paired", "auto").a) == ["1.png"]
    save(".cache/set/train/1.png")
    hidden_root = find_split(tmp_path / ".cache" / "set", "train", "paired", "auto")
    assert names(hidden_root.a) == ["1.png"], "only what is below the split counts"


def test_two_layouts_ask_for_a_choice(tmp_path: Path, save: Any) -> None:
    for name in ("train/x.png", "trainA/1.png", "trainB/1.png"):
        save(name)
    with pytest.raises(DataError, match="holds both train/ and trainA/, trainB/: choose one with data.layout="):
        require_root(tmp_path, "paired", "auto")
    assert names(find_split(tmp_path, "train", "paired", "side_by_side").a) == ["x.png"]
    assert names(find_split(tmp_path, "train", "paired", "folders").a) == ["1.png"]


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_domains_within_a_split_are_not_cut_in_halves(pairing: Any, tmp_path: Path, save: Any) -> None:
    for name in ("train/A/1.png", "train/B/1.png"):
        save(name)
    with pytest.raises(DataError, match=r"train holds the folders A and B: name them .*trainA and .*trainB, or say"):
        find_split(tmp_path, "train", pairing, "auto")
    assert len(find_split(tmp_path, "train", pairing, "side_by_side")) == 2


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.root=.*nowhere is not a folder"):
        require_root(tmp_path / "nowhere", "paired", "auto")
    with pytest.raises(
        DataError, match=r"has no training images: for unpaired data it should hold .*train .* or .*trainA"
    ):
        require_root(tmp_path, "unpaired", "auto")
    (tmp_path / "train").mkdir()
    require_root(tmp_path, "paired", "auto")
    with pytest.raises(DataError, match=r"train has no images: it should hold files that end with .bmp"):
        find_split(tmp_path, "train", "paired", "auto")


def halves(n: int) -> Domains:
    return domains_of(SideBySide([Path(f"{i}.png") for i in range(n)]), "paired")


def files(n: int, m: int) -> Domains:
    a, b = ([Path(f"{domain}{i}.png") for i in range(k)] for domain, k in (("A", n), ("B", m)))
    return domains_of((Files(a), Files(b)), "unpaired")


def test_validation_is_cut_by_seed() -> None:
    whole = halves(20)
    train, val = cut_validation(whole, 5, seed=3, paired=True)
    assert (len(train.a), len(val.a)) == (15, 5)
    assert set(train.a) | set(val.a) == set(whole.a)
    assert names(val.a) == names(val.b)
    assert cut_validation(whole, 5, seed=3, paired=True) == (train, val)
    assert cut_validation(whole, 5, seed=4, paired=True) != (train, val)
    assert cut_validation(whole, 0, seed=3, paired=True) == (whole, Domains())


def test_halves_of_a_file_stay_on_the_same_side_of_the_cut() -> None:
    _, val = cut_validation(halves(20), 5, seed=0, paired=False)
    assert names(val.a) == names(val.b)
    _, val = cut_validation(files(20, 30), 5, seed=0, paired=False)
    assert len(val.a) == len(val.b) == 5


def test_nothing_left_to_train_on() -> None:
    with pytest.raises(DataError, match="data.val_size=5 leaves nothing to train on: there are 5 training images"):
        cut_validation(files(9, 5), 5, seed=0, paired=False)
