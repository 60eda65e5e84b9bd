"""The built-in set: what is in the pictures, that they are reproducible, and that a folder is whole or not there."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patchlight.data.sources.folders import Files, Folders, SideBySide
from patchlight.data.synthetic import FORMAT, SyntheticSet
from patchlight.data.synthetic.canvas import Canvas
from patchlight.data.synthetic.layout import LEGEND, Facade, draw_facade
from patchlight.data.synthetic.render import light, render, render_pair, render_scene
from patchlight.errors import DataError

SMALL = SyntheticSet(n_train=4, n_test=2, size=64)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def brightness(label: NDArray[np.uint8], photo: NDArray[np.uint8], kind: str) -> float:
    return float(photo[(label == LEGEND[kind]).all(axis=2)].mean())


def test_legend_has_the_twelve_classes() -> None:
    assert len(LEGEND) == len(set(LEGEND.values())) == 12
    assert LEGEND["background"] == (0, 0, 222)
    assert LEGEND["shop"] == (174, 0, 0)


def test_label_maps_hold_the_colours_of_the_legend_and_no_other() -> None:
    seen: set[tuple[int, ...]] = set()
    for i in range(40):
        colours = np.unique(draw_facade(np.random.default_rng(i), 64).label_map().reshape(-1, 3), axis=0)
        seen |= {tuple(int(c) for c in colour) for colour in colours}
    assert seen == set(LEGEND.values())


@pytest.mark.parametrize("size", [64, 100, 128])
def test_shapes(size: int) -> None:
    label, photo = render_pair(np.random.default_rng(0), size)
    evening = render_scene(np.random.default_rng(0), size, evening=True)
    for image in (label, photo, evening):
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8


def test_a_layout_does_not_depend_on_the_size() -> None:
    small, large = (draw_facade(np.random.default_rng(3), size) for size in (128, 256))
    assert [(p.kind, p.variant) for p in small.parts] == [(p.kind, p.variant) for p in large.parts]
    for a, b in zip(small.parts, large.parts, strict=True):
        assert [a.x0, a.y0, a.x1, a.y1] == pytest.approx([v / 2 for v in (b.x0, b.y0, b.x1, b.y1)], abs=1)


def test_windows_are_dark_by_day_and_shine_in_the_evening() -> None:
    by_day: list[float] = []
    at_dusk: list[float] = []
    for i in range(16):
        rng = np.random.default_rng(i)
        facade = draw_facade(rng, 64)
        label = facade.label_map()
        for evening, differences in ((False, by_day), (True, at_dusk)):
            photo = render(rng, facade, evening=evening)
            differences.append(brightness(label, photo, "window") - brightness(label, photo, "facade"))
    assert np.mean(by_day) < -35
    assert np.mean(at_dusk) > 20
    assert sum(d < 0 for d in by_day) >= 14
    assert sum(d > 0 for d in at_dusk) >= 13


def test_a_lit_room_leaves_the_bars_of_its_window_dark() -> None:
    brightness_of_bar: list[float] = []
    for relief in (-2.6, 0.0):
        canvas = Canvas(Facade(64), evening=True)
        canvas.albedo[:] = 0.8
        canvas.lamp[100:156, 100:156] = 1.5
        bar = (slice(100, 156), slice(126, 130))
        canvas.cover(bar, np.float32([0.8, 0.8, 0.8]), relief)
        brightness_of_bar.append(float(light(np.random.default_rng(0), canvas)[bar].mean()))
    recessed, flush = brightness_of_bar
    assert recessed < 0.45 * flush


def test_evenings_are_darker() -> None:
    day, dusk = (
        np.mean([render_scene(np.random.default_rng(i), 64, evening=evening) for i in range(8)], axis=(0, 1, 2))
        for evening in (False, True)
    )
    assert dusk.mean() < 0.7 * day.mean()


def test_the_label_map_does_not_determine_the_material() -> None:
    facade = draw_facade(np.random.default_rng(1), 64)
    wall = (facade.label_map() == LEGEND["facade"]).all(axis=2)
    colours = np.array([render(np.random.default_rng(i), facade, evening=False)[wall].mean(axis=0) for i in range(8)])
    assert colours.std(axis=0).min() > 10


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        SMALL.write(tmp_path / name, "paired")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_an_image_depends_on_nothing_but_its_place(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "small", "unpaired")
    SyntheticSet(n_train=5, n_test=1, size=64).write(tmp_path / "other", "unpaired")
    small, other = digests(tmp_path / "small"), digests(tmp_path / "other")
    common = [name for name in small if name in other and name.endswith(".png")]
    assert len(common) == 2 * 4 + 2 * 1
    assert all(small[name] == other[name] for name in common)
    images = [digest for name, digest in small.items() if name.endswith(".png")]
    assert len(set(images)) == len(images) == 12


def test_seeds_differ(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "0", "paired")
    SyntheticSet(n_train=4, n_test=2, size=64, seed=1).write(tmp_path / "1", "paired")
    assert not set(digests(tmp_path / "0").values()) & set(digests(tmp_path / "1").values())


def test_pairs_lie_side_by_side_with_the_label_map_on_the_left(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "set", "paired")
    image = np.asarray(cv2.imread(str(tmp_path / "set/test/00001.png")))[:, :, ::-1]
    assert image.shape == (64, 128, 3)
    colours = {tuple(int(c) for c in colour) for colour in np.unique(image[:, :64].reshape(-1, 3), axis=0)}
    assert colours <= set(LEGEND.values())
    assert len(np.unique(image[:, 64:].reshape(-1, 3), axis=0)) > 1000


def test_the_sets_are_found_like_any_other(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "paired", "paired")
    SMALL.write(tmp_path / "unpaired", "unpaired")
    train = Folders(tmp_path / "paired", "paired", "auto")(split="train")
    assert isinstance(train, SideBySide)
    assert len(train) == 4
    test = Folders(tmp_path / "unpaired", "unpaired", "auto")(split="test")
    assert isinstance(test, tuple)
    assert [(type(source), len(source)) for source in test] == [(Files, 2), (Files, 2)]


def test_a_complete_set_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SMALL.write(tmp_path / "set", "paired")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    monkeypatch.setattr("patchlight.data.synthetic.render.render", lambda *_, **__: pytest.fail("rendered again"))
    SMALL.write(tmp_path / "set", "paired")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")} == before


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imwrite = cv2.imwrite
    monkeypatch.setattr(cv2, "imwrite", lambda path, *rest: "00002" not in path and imwrite(path, *rest))
    with pytest.raises(DataError, match=r"00002\.png cannot be written"):
        SMALL.write(tmp_path / "set", "paired")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("patchlight.data.synthetic.render.render", stop)
    with pytest.raises(KeyboardInterrupt):
        SMALL.write(tmp_path / "set", "paired")
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_writers_keeps_what_the_other_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        SMALL.write(tmp_path / "set", "paired")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    SMALL.write(tmp_path / "set", "paired")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(digests(tmp_path / "set")) == 4 + 2 + 1


def test_two_writers_end_with_one_complete_set(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(SMALL.write, tmp_path / "set", "paired") for _ in range(2)]:
            future.result()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(digests(tmp_path / "set")) == 4 + 2 + 1


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    SMALL.write(tmp_path / "set", "paired")
    assert len(digests(tmp_path / "set")) == 7


def test_another_set_in_the_folder_is_refused(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "set", "paired")
    with pytest.raises(DataError, match=r"another synthetic set \(n_train 4, not 5; seed 0, not 9\)\. Remove that"):
        SyntheticSet(n_train=5, n_test=2, size=64, seed=9).write(tmp_path / "set", "paired")
    with pytest.raises(DataError, match="pairing paired, not unpaired"):
        SMALL.write(tmp_path / "set", "unpaired")


def test_a_set_of_an_older_renderer_is_refused(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "set", "paired")
    path = tmp_path / "set/synthetic.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(DataError, match=r"another synthetic set \(format 1, not 2\)\. Remove that folder"):
        SMALL.write(tmp_path / "set", "paired")


@pytest.mark.parametrize("content", [None, "{", "[]", b"\xff\xfe"])
def test_a_folder_that_is_not_a_synthetic_set_is_refused(tmp_path: Path, content: str | bytes | None) -> None:
    root = tmp_path / "set"
    (root / "train").mkdir(parents=True)
    if content is not None:
        (root / "synthetic.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match="something other than a synthetic set: it has no readable synthetic.json"):
        SMALL.write(root, "paired")
    assert (root / "train").is_dir()


def test_the_record_says_how_the_set_was_made(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "set", "unpaired")
    record = json.loads((tmp_path / "set/synthetic.json").read_text())
    assert record == {"format": FORMAT, "pairing": "unpaired", "n_train": 4, "n_test": 2, "size": 64, "seed": 0}


def test_numbers_out_of_range() -> None:
    with pytest.raises(DataError, match=r"data\.render\.size=32 should be an integer of at least 64"):
        SyntheticSet(size=32)
    with pytest.raises(DataError, match=r"data\.render\.n_train=0 should be an integer of at least 1"):
        SyntheticSet(n_train=0)
    with pytest.raises(DataError, match=r"data\.render\.seed=True"):
        SyntheticSet(seed=True)
