from __future__ import annotations

import gc
import multiprocessing
import pickle
import sys
import weakref
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch

from patchlight.data import Augment, ImageDataModule
from patchlight.data.cache import PATIENCE, READY, TAKEN, Arena, ImageCache, budget
from patchlight.errors import DataError

FORKS = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forked on Linux only")


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_what_is_put_in_comes_out() -> None:
    cache = ImageCache(Arena(10_000), length=3, channels=(3, 1))
    assert cache.get(1) is None
    pair = [picture(8, 12), picture(8, 12, channels=1, seed=1)]
    assert cache.put(1, pair)
    found = cache.get(1)
    assert found is not None
    assert all(np.array_equal(x, y) for x, y in zip(found, pair, strict=True))
    assert not cache.put(1, pair), "it is there already"
    assert cache.arena.used == 8 * 12 * 4
    assert cache.get(0) is None


def test_the_budget_is_kept() -> None:
    arena = Arena(1000)
    one, two = ImageCache(arena, 5, (3,)), ImageCache(arena, 5, (1,))
    assert [one.put(i, [picture(10, 10)]) for i in range(5)] == [True, True, True, False, False]
    assert arena.used == 900
    assert two.put(0, [picture(10, 10, 1)]), "sets share the block"
    assert not two.put(1, [picture(1, 1, 1)])
    assert arena.used == 1000
    assert one.get(3) is None


def test_nothing_is_kept_without_memory() -> None:
    cache = ImageCache(Arena(0), 2, (3,))
    assert not cache.put(0, [picture(1, 1)])
    assert cache.get(0) is None
    cache = ImageCache(Arena(2**62), 2, (3,))
    assert (cache.arena.size, cache.put(0, [picture(1, 1)])) == (0, False), "the system has not so much"


@FORKS
def test_processes_share_it() -> None:
    context = multiprocessing.get_context("fork")
    cache = ImageCache(Arena(100_000), 8, (3,))

    def fill(start: int) -> None:
        for i in range(start, 8, 2):
            cache.put(i, [picture(10, 10, seed=i)])

    workers = [context.Process(target=fill, args=(start,)) for start in (0, 1, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert cache.arena.used == 8 * 300, "no image is kept twice"
    for i in range(8):
        (found,) = cache.get(i) or [None]
        assert np.array_equal(found, picture(10, 10, seed=i))


class Lock:
    """A lock that says what a row was when it was given back, and can be somebody else's for ever."""

    def __init__(self, row: Any) -> None:
        self.row = row
        self.states: list[int] = []
        self.waited: list[float] = []
        self.is_free = True

    def acquire(self, timeout: float) -> bool:
        self.waited.append(timeout)
        return self.is_free

    def release(self) -> None:
        self.states.append(int(self.row[0]))


def test_an_image_is_shown_and_first_seen_under_the_lock() -> None:
    """Or processors that write and read out of order could show the mark before the image."""
    cache = ImageCache(Arena(1000), 2, (3,))
    cache.arena._lock = lock = Lock(cache._table[1])  # type: ignore[assignment]
    cache.put(1, [picture(4, 4)])
    assert lock.states == [TAKEN, READY]
    other = ImageCache(Arena(0), 2, (3,))  # as another process has it
    other.arena, other._table = cache.arena, cache._table
    assert other.get(0) is None
    assert len(lock.states) == 2, "what is not there needs no lock"
    for _ in range(3):
        (found,) = other.get(1) or [None]
        assert np.array_equal(found, picture(4, 4))
    assert len(lock.states) == 3, "an image that was seen needs none any more"


def test_a_process_that_died_with_the_lock_is_waited_for_once() -> None:
    cache = ImageCache(Arena(1000), 3, (3,))
    cache.put(0, [picture(4, 4)])
    cache._seen[0] = False
    cache.arena._lock = lock = Lock(cache._table[0])  # type: ignore[assignment]
    lock.is_free = False
    assert cache.get(0) is None
    assert not cache.put(1, [picture(4, 4)])
    assert cache.get(0) is None
    assert lock.waited == [PATIENCE, 0.0, 0.0]
    assert lock.states == []


def test_processes_that_are_started_anew_have_their_own() -> None:
    cache = ImageCache(Arena(100_000, processes=4), 8, (3,))
    cache.put(0, [picture(4, 4)])
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.arena.size, copy.arena.used, copy.get(0)) == (25_000, 0, None)
    assert copy.put(0, [picture(4, 4)])
    assert cache.arena.used == 48


def test_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchlight.data.cache.available_memory", lambda: 2**32)
    assert budget("auto", 1) == 2**30
    assert budget("auto", 2) == 2**29
    assert budget(1.5, 3) == 2**29
    assert budget(0, 1) == 0


@pytest.fixture
def paired(tmp_path: Path, save: Any) -> Path:
    for i in range(6):
        save(f"train/{i}.png")
        save(f"val/{i}.png")
    return tmp_path


@pytest.fixture
def unpaired(tmp_path: Path, save: Any) -> Path:
    for i in range(5):
        for split in ("train", "val"):
            save(f"two/{split}A/{i}.png", 24, 24)
            save(f"two/{split}B/{i}.png", 24, 24)
    return tmp_path / "two"


def module(root: Path, pairing: Any, **settings: Any) -> ImageDataModule:
    defaults: dict[str, Any] = {"load_size": 20, "image_size": 16, "num_workers": 0, "cache": 0.01}
    data = ImageDataModule(root, pairing, **(defaults | settings))
    data.setup()
    return data


def epochs(data: ImageDataModule, n: int = 3) -> list[Any]:
    """What `n` epochs of training, each with a validation, consist of."""
    drawn = []
    training, validation = data.train_dataloader(), data.val_dataloader()
    for epoch in range(n):
        training.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for loader in (training, validation):
            drawn += [
                (b["A_path"], b["B_path"], b["A"].numpy().tobytes(), b["B"].numpy().tobytes(), b["A"].shape)
                for b in loader
            ]  # fmt: skip
    return drawn


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width", "none"])
@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_samples_do_not_depend_on_it(pairing: str, preprocess: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(pairing)
    settings = {"preprocess": preprocess, "channels_b": 1}
    expected = epochs(module(root, pairing, cache=0, **settings))
    assert epochs(module(root, pairing, **settings)) == expected
    assert epochs(module(root, pairing, cache=4000 / 2**30, **settings)) == expected, "some images find no room"


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_samples_do_not_depend_on_it_in_workers(pairing: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(pairing)
    settings = {"augment": Augment(colour_a=[albumentations.RandomBrightnessContrast(p=1.0)])}
    expected = epochs(module(root, pairing, cache=0, **settings))
    for workers in (0, 1, 2):
        data = module(root, pairing, num_workers=workers, **settings)
        assert epochs(data) == expected
        assert data._arena is not None
        assert data._arena.used > 0


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=FORKS)])
@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_a_later_epoch_reads_no_file(workers: int, pairing: str, request: pytest.FixtureRequest) -> None:
    """Not even one that another worker has read, nor another loader of the same split."""
    root = request.getfixturevalue(pairing)
    plain = module(root, pairing, cache=0)
    expected = epochs(plain)
    data = module(root, pairing, num_workers=workers)
    loaders = data.train_dataloader(), data.val_dataloader()
    for epoch in range(12):  # by then every B has met an A
        loaders[0].sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert sum(1 for loader in loaders for _ in loader) > 0
    for path in root.rglob("*.png"):
        path.unlink()
    loaders[0].sampler.set_epoch(0)  # type: ignore[attr-defined]
    again = [b["B"].numpy().tobytes() for loader in loaders for b in loader]
    assert again == [images[3] for images in expected[: len(again)]]
    assert epochs(data) == expected
    with pytest.raises(DataError, match="cannot be read"):
        epochs(plain)


def test_the_budget_of_a_data_module(paired: Path) -> None:
    data = module(paired, "paired", cache=5000 / 2**30)
    epochs(data)
    assert data._arena is not None
    assert data._arena.used == 2 * 20 * 20 * 3 * 2, "two pairs of the training set fit"


def test_memory_is_given_back(paired: Path) -> None:
    data = module(paired, "paired", num_workers=0)
    epochs(data)
    assert data._arena is not None
    gone = weakref.ref(data._arena)
    del data
    gc.collect()
    assert gone() is None


def test_kept_images_are_not_changed(paired: Path) -> None:
    """Augmentation and later owners of a batch get copies."""
    data = module(paired, "paired", load_size=16, augment=Augment(colour_b=[albumentations.InvertImg(p=1.0)]))
    dataset = data.train_dataloader().dataset
    first = dataset[0]
    before = first["B"].clone()
    first["B"].zero_()
    assert torch.equal(dataset[0]["B"], before)
