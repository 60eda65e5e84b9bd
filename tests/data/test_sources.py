"""Images that are no files: a source in memory goes through everything that folders go through."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from patchlight.data import Header, ImageDataModule, ImageSource, PairSource
from patchlight.data.images import picture_levels
from patchlight.errors import DataError


class Memory(ImageSource):
    """Arrays by key; `asked` counts what was read."""

    def __init__(self, images: dict[str, NDArray[Any]]) -> None:
        self.images = images
        self.names = list(images)
        self.asked: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> NDArray[Any]:
        self.asked.append(self.names[index])
        return self.images[self.names[index]]

    def header(self, index: int) -> Header:
        height, width, channels = self.images[self.names[index]].shape
        return Header(width, height, channels)

    def key(self, index: int) -> str:
        return self.names[index]


class Records(PairSource):
    """The pairs of two sources, in one go."""

    def __init__(self, a: Memory, b: Memory) -> None:
        self.a, self.b = a, b

    def __len__(self) -> int:
        return len(self.a)

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.a.read(index), self.b.read(index)

    def header(self, index: int) -> tuple[Header, Header]:
        return self.a.header(index), self.b.header(index)

    def key(self, index: int) -> str:
        return f"record {index}"


def noise(n: int, domain: str, channels: int = 3, size: int = 24) -> Memory:
    rng = np.random.default_rng(len(domain))
    return Memory({f"{domain}{i}": rng.integers(0, 256, (size, size, channels), dtype=np.uint8) for i in range(n)})


def module(found: dict[str, Any], pairing: Any = "paired", **settings: Any) -> ImageDataModule:
    defaults: dict[str, Any] = {"load_size": 20, "image_size": 16, "num_workers": 0, "val_size": 0}
    empty = (Memory({}), Memory({}))
    data = ImageDataModule(pairing=pairing, source=lambda split: found.get(split, empty), **(defaults | settings))
    data.setup()
    return data


def epoch(data: ImageDataModule) -> list[dict[str, Any]]:
    return list(data.train_dataloader())


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_the_same_images_as_files_and_in_memory(pairing: Any, tmp_path: Path) -> None:
    a, b = noise(12, "A"), noise(12, "B")
    for memory, domain in ((a, "A"), (b, "B")):
        (tmp_path / f"train{domain}").mkdir()
        for i, image in enumerate(memory.images.values()):
            Image.fromarray(image).save(tmp_path / f"train{domain}" / f"{i:02d}.png")
    settings = {"load_size": 20, "image_size": 16, "val_size": "auto", "batch_size": 2}
    files = ImageDataModule(tmp_path, pairing, num_workers=0, **settings)  # type: ignore[arg-type]
    files.setup()
    data = module({"train": (a, b)}, pairing, **settings)
    assert files.notes == data.notes
    assert data.describe()["images"] == files.describe()["images"] == {
        "train": {"A": 11, "B": 11}, "val": {"A": 1, "B": 1}, "test": {"A": 0, "B": 0},
    }  # fmt: skip
    assert data.describe()["source"] == f"{__name__}.Memory"
    for ours, theirs in zip(epoch(data), epoch(files), strict=True):
        assert torch.equal(ours["A"], theirs["A"])
        assert torch.equal(ours["B"], theirs["B"])
        assert ours["A_path"] == [f"A{int(Path(path).stem)}" for path in theirs["A_path"]]


def test_workers_a_cache_and_a_later_begin_give_the_same(tmp_path: Path) -> None:
    found = {"train": (noise(6, "A"), noise(6, "BB"))}
    expected = epoch(module(found, cache=0))
    data = module(found, num_workers=2, cache=0.01)
    for again in range(2):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(0)  # type: ignore[attr-defined]
        for ours, theirs in zip(loader, expected, strict=True):
            assert torch.equal(ours["A"], theirs["A"]), again
            assert ours["B_path"] == theirs["B_path"]
    rest = module(found)
    rest.begin_at(0, 4)
    assert [batch["A_path"] for batch in epoch(rest)] == [batch["A_path"] for batch in expected[4:]]


def test_what_is_kept_is_not_read_again() -> None:
    a, b = noise(4, "A"), noise(4, "BB")
    data = module({"train": (a, b)}, cache=0.01)
    epoch(data), epoch(data)
    assert sorted(a.asked) == sorted(a.names)


def test_pairs_of_one_record() -> None:
    a, b = noise(4, "A"), noise(4, "BB")
    data = module({"train": Records(a, b)})
    batches = epoch(data)
    assert sorted(path for batch in batches for path in batch["A_path"]) == [f"record {i}" for i in range(4)]
    assert all(batch["A_path"] == batch["B_path"] for batch in batches)
    assert sorted(a.asked) == sorted(a.names), "a pair is read once"
    apart = module({"train": (a, b)})
    assert [torch.equal(x["A"], y["A"]) for x, y in zip(batches, epoch(apart), strict=True)] == [True] * 4
    unpaired = module({"train": Records(a, b)}, "unpaired", val_size=1)
    (val,) = unpaired.val_dataloader()
    assert val["A_path"] == val["B_path"], "images of one record stay on one side of the cut"


def test_pairs_are_matched_by_keys_that_both_have() -> None:
    a = noise(3, "x")
    b = Memory({key: a.images[key] for key in reversed(a.names)})
    assert all(batch["A_path"] == batch["B_path"] for batch in epoch(module({"train": (a, b)})))
    del b.images["x1"]
    b.names.remove("x1")
    with pytest.raises(DataError, match=r"^x1 of data\.source have no partner of their key in B"):
        module({"train": (a, b)})
    with pytest.raises(DataError, match="3 images of domain A and 2 of B without a key in common"):
        module({"train": (a, noise(2, "B"))})
    twice = noise(3, "B")
    twice.names[0] = "B1"
    with pytest.raises(DataError, match=r"B1 is the key of two images of data\.source"):
        module({"train": (a, twice)})


def test_a_fingerprint_stands_for_keys() -> None:
    a, b = noise(3, "A"), noise(3, "BB")
    first = module({"train": (a, b), "test": (a, b)}).fingerprint("test")
    assert first == module({"train": (a, b), "test": (a, b)}).fingerprint("test")
    assert len(first) == 12
    b.names[0] = "BB0 "
    b.images["BB0 "] = b.images["BB0"]
    assert module({"train": (a, b), "test": (a, b)}).fingerprint("test") != first


class Broken(Memory):
    def header(self, index: int) -> Header:
        if index == 1:
            raise OSError("the tape is torn")
        return super().header(index)


def test_headers_are_looked_at_before_anything_is_read() -> None:
    a, b = noise(3, "A"), noise(3, "BB")
    b.images["BB2"] = np.zeros((24, 25, 3), np.uint8)
    with pytest.raises(DataError) as caught:
        module({"train": (Broken(a.images), b)})
    assert str(caught.value) == (
        "A1 cannot be read as an image (the tape is torn): replace or remove it. A2 (24x24) and BB2 (25x24) are a pair "
        "of different size: make them equal"
    )
    with pytest.raises(DataError, match=r"data\.channels_a=4 does not suit A0: it has 3 channels where 4 are wanted"):
        module({"train": (a, noise(3, "BB"))}, channels_a=4)
    assert a.asked == b.asked == []


class Late(Memory):
    def read(self, index: int) -> NDArray[Any]:
        raise KeyError("gone")


def test_an_image_that_fails_later_is_named() -> None:
    data = module({"train": (Late(noise(1, "A").images), noise(1, "BB"))})
    with pytest.raises(DataError, match=r"^A0 cannot be read as an image \('gone'\): replace or remove it$"):
        epoch(data)


def test_what_a_source_is_not() -> None:
    for source, message in (
        (lambda split: 3, r"data\.source does not find the train images: TypeError: .*int"),
        (lambda split: ([], []), "TypeError: list and list are no pair of patchlight.data.ImageSource"),
        (lambda split: open("nowhere.csv"), "FileNotFoundError: .*nowhere.csv"),  # noqa: SIM115
        (lambda split: (Memory({}), noise(2, "B")), "has no training images for unpaired data: 0 of domain A and 2"),
    ):
        with pytest.raises(DataError, match=message):
            ImageDataModule(pairing="unpaired", source=source, num_workers=0).setup("fit")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"data\.root is not set"):
        ImageDataModule()


def test_a_test_without_training_images() -> None:
    empty = (Memory({}), Memory({}))
    test = (noise(2, "A"), noise(2, "BB"))
    data = ImageDataModule(
        pairing="paired", source=lambda split: test if split == "test" else empty, num_workers=0,
        load_size=20, image_size=16,
    )  # fmt: skip
    data.setup("test")
    assert [batch["A_path"] for batch in data.test_dataloader()] == [["A0"], ["A1"]]


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width"])
def test_any_number_of_channels_channel_by_channel(channels: int, preprocess: Any) -> None:
    many = noise(3, "A", channels)
    settings = {"preprocess": preprocess, "channels_a": channels, "channels_b": 1}
    data = module({"train": (many, noise(3, "BB"))}, load_size=[20, 31], **settings)
    one = Memory({key: image[:, :, :1] for key, image in many.images.items()})
    alone = module({"train": (one, noise(3, "BB"))}, load_size=[20, 31], **settings | {"channels_a": 1})
    for whole, single in zip(epoch(data), epoch(alone), strict=True):
        assert whole["A"].shape[1] == channels
        assert torch.equal(whole["A"][:, :1], single["A"])


def test_a_split_is_pickled_for_processes_that_are_started_anew() -> None:
    data = module({"train": Records(noise(2, "A"), noise(2, "BB"))}, cache=0.01)
    loader = data.train_dataloader()
    copy = pickle.loads(pickle.dumps(loader.dataset))
    assert torch.equal(copy[1]["A"], loader.dataset[1]["A"])
    assert copy.domains.a[0].record == copy.domains.b[0].record


LEVELS = np.array([[[0, 128, 255]]], np.uint8)


@pytest.mark.parametrize(
    ("picture", "channels", "expected"),
    [
        (LEVELS, 3, [0, 128, 255]),
        (LEVELS.astype(np.uint16) * 257, 3, [0, 128, 255]),
        (np.array([[[0, 0.5, 1]]], np.float32), 3, [0, 128, 255]),
        (np.array([[7]], np.uint8), 3, [7, 7, 7]),
        (np.array([[[10, 20, 30]]], np.uint8), 1, [18]),
        (np.arange(5, dtype=np.uint8).reshape(1, 1, 5), 5, [0, 1, 2, 3, 4]),
        (Image.new("RGBA", (1, 1), (1, 2, 3, 4)), 4, [1, 2, 3, 4]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 0)), 3, [255, 255, 255]),
        (Image.new("LA", (1, 1), (9, 8)), 2, [9, 8]),
    ],
)
def test_pictures_become_levels(picture: Any, channels: int, expected: list[int]) -> None:
    levels = picture_levels(picture, channels)
    assert (levels.dtype, levels.shape[:2]) == (np.uint8, (1, 1))
    assert levels[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("picture", "channels", "message"),
    [
        (np.zeros((2, 2, 4), np.uint8), 3, "it has 4 channels where 3 are wanted"),
        (Image.new("RGB", (2, 2)), 4, r"it has 3 channels \(RGB\) where 4 \(RGBA\) are wanted"),
        (Image.new("CMYK", (2, 2)), 4, r"it has 4 channels \(CMYK\) where 4 \(RGBA\) are wanted"),
        (Image.new("P", (2, 2)), 4, r"it has 3 channels \(RGB\) where 4 \(RGBA\) are wanted"),
        (np.zeros((2, 2, 3), np.int64), 3, "its values are int64: they should be uint8, uint16, or floating point"),
        (np.full((2, 2, 3), np.nan), 3, "12 of its 12 values are NaN or infinite"),
        (np.zeros((2,), np.uint8), 3, r"shape \(2,\) is no image"),
        (np.zeros((0, 2, 3), np.uint8), 3, r"shape \(0, 2, 3\) is no image"),
    ],
)
def test_pictures_that_have_no_levels(picture: Any, channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        picture_levels(picture, channels)


def test_a_partial_is_a_source() -> None:
    def make(*, images: int, split: str) -> tuple[Memory, Memory]:
        return (noise(images, "A"), noise(images, "BB")) if split == "train" else (Memory({}), Memory({}))

    data = ImageDataModule(pairing="paired", source=partial(make, images=2), num_workers=0, val_size=0)
    data.setup()
    assert data.describe()["images"]["train"] == {"A": 2, "B": 2}
