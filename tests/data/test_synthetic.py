from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patchlight.data import SyntheticSet
from patchlight.data.synthetic import LEGEND, render_pair, render_scene
from patchlight.data.synthetic.layout import draw_facade
from patchlight.errors import DataError


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def region(label: NDArray[np.uint8], kind: str) -> NDArray[np.bool_]:
    return np.all(label == LEGEND[kind], axis=2)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_pair(size: int) -> None:
    label, photo = render_pair(rng(0), size)
    assert label.shape == photo.shape == (size, size, 3)
    assert label.dtype == photo.dtype == np.uint8
    colours = {tuple(c) for c in label.reshape(-1, 3).tolist()}
    assert colours <= set(LEGEND.values())
    assert photo.std() > 20


def test_it_is_a_function_of_the_seed() -> None:
    assert np.array_equal(render_pair(rng(3), 64)[1], render_pair(rng(3), 64)[1])
    assert not np.array_equal(render_pair(rng(3), 64)[1], render_pair(rng(4), 64)[1])


def test_all_classes_occur() -> None:
    seen: set[tuple[int, ...]] = set()
    for seed in range(40):
        seen |= {tuple(c) for c in draw_facade(rng(seed), 128).label_map().reshape(-1, 3).tolist()}
    assert seen == set(LEGEND.values())


def test_windows_are_where_the_label_says() -> None:
    """By day they are darker than the wall, in the evening, on the whole, brighter."""
    by_day, evening = [], []
    for seed in range(12):
        facade = draw_facade(rng(seed), 128)
        label = facade.label_map()
        window, wall = region(label, "window"), region(label, "facade")
        photo = render_pair(rng(seed), 128)[1]
        assert np.array_equal(render_pair(rng(seed), 128)[0], label)
        by_day.append(photo[wall].mean() - photo[window].mean())
        dusk = render_scene(rng(seed), 128, evening=True)
        evening.append(dusk[window].mean() - dusk[wall].mean())
    assert np.mean(by_day) > 40
    assert min(by_day) > 0
    assert np.mean(evening) > 40


def read(root: Path) -> dict[str, NDArray[Any]]:
    return {p.relative_to(root).as_posix(): cv2.imread(str(p)) for p in sorted(root.rglob("*.png"))}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("pairing", "folders"), [("paired", {"train", "test"}), ("unpaired", {"trainA", "trainB", "testA", "testB"})]
)
def test_a_set(pairing: Any, folders: set[str], tmp_path: Path) -> None:
    few, more = SyntheticSet(n_train=2, n_test=1, size=64), SyntheticSet(n_train=3, n_test=1, size=64)
    few.write(tmp_path / "few", pairing)
    more.write(tmp_path / "more", pairing)
    images, others = read(tmp_path / "few"), read(tmp_path / "more")
    assert {name.split("/")[0] for name in images} == folders
    assert len(images) == 3 * len(folders) // 2
    for name, image in images.items():
        assert image.shape == (64, 128 if pairing == "paired" else 64, 3)
        assert np.array_equal(image, others[name]), "an image does not depend on how many there are"
    assert len({image.tobytes() for image in images.values()}) == len(images)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_set_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SyntheticSet(n_train=1, n_test=1, size=64)
    small.write(tmp_path / "set", "paired")
    monkeypatch.setattr("patchlight.data.synthetic.write.render_pair", fail)
    small.write(tmp_path / "set", "paired")
    for other in (SyntheticSet(n_train=2, n_test=1, size=64), SyntheticSet(n_train=1, n_test=1, size=64, seed=1)):
        with pytest.raises(DataError, match="set holds something other than the synthetic set"):
            other.write(tmp_path / "set", "paired")
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="mine holds something other"):
        small.write(tmp_path / "mine", "paired")


def fail(*args: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_is_stopped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchlight.data.synthetic.write.render_pair", fail)
    with pytest.raises(KeyboardInterrupt):
        SyntheticSet(n_train=1, n_test=1, size=64).write(tmp_path / "set", "paired")
    assert list(tmp_path.iterdir()) == []


def test_two_writers_end_with_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SyntheticSet(n_train=1, n_test=1, size=64)
    rename: Callable[..., Path] = Path.rename

    def late(self: Path, target: Path) -> Path:
        """Someone else was quicker."""
        monkeypatch.setattr(Path, "rename", rename)
        small.write(tmp_path / "set", "paired")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    small.write(tmp_path / "set", "paired")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert len(read(tmp_path / "set")) == 2


@pytest.mark.parametrize("settings", [{"n_train": 0}, {"size": 32}, {"seed": -1}, {"n_test": True}])
def test_refused_numbers(settings: dict[str, int]) -> None:
    name, value = next(iter(settings.items()))
    with pytest.raises(DataError, match=f"data.render.{name}={value} should be an integer of at least"):
        SyntheticSet(**settings)
