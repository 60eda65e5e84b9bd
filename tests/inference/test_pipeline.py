"""Folders through a translator: every result under its own name, whatever else is in the folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

import patchlight
from patchlight.errors import ConfigError, DataError
from patchlight.inference import pipeline
from patchlight.inference.jobs import find_jobs
from patchlight.inference.loading import TrainedModel
from patchlight.inference.patch_scorer import as_picture
from patchlight.inference.pipeline import translate_files
from patchlight.inference.pixels import to_values
from patchlight.methods import TranslationMethod

Make = Callable[..., tuple[Path, TranslationMethod]]
Draw = Callable[..., Image.Image]


@pytest.fixture
def folder(picture: Draw, tmp_path: Path) -> Path:
    """24 images of three sizes in two folders, with awkward names, among files that are no images."""
    root = tmp_path / "in"
    (root / "sub folder").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for i in range(24):
        place = root / "sub folder" if i % 2 else root
        picture(*((32, 32), (64, 32), (50, 20))[i % 3], seed=i).save(place / f"ä ö {i}.png")
    picture(32, 32).save(root / ".hidden" / "a.png")
    (root / "notes.txt").write_text("text", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("model", "batch_size"), [("cyclegan", 1), ("cyclegan", 4), ("cyclegan", None), ("pix2pix", 4)]
)
def test_a_folder_is_translated_image_by_image(
    make: Make, folder: Path, tmp_path: Path, model: str, batch_size: int | None
) -> None:
    translator = patchlight.load(make(model)[0], device="cpu")
    jobs = find_jobs(str(folder), tmp_path / "out", None, overwrite=False)
    ticks: list[int] = []
    assert translate_files(translator, jobs, batch_size, lambda: ticks.append(1)) == []
    assert len(ticks) == len(jobs) == 24
    written = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*")}
    assert written == {job.source.relative_to(folder) for job in jobs}
    for job in jobs:
        with Image.open(job.source) as source, Image.open(job.target) as target:
            difference = np.abs(np.asarray(target).astype(int) - np.asarray(translator(source)).astype(int))
        # A batch may round its last bits in another way than a single image.
        assert difference.max() <= (0 if model == "pix2pix" else 1)


def test_noise_does_not_depend_on_the_order_of_files(make: Make, picture: Draw, tmp_path: Path) -> None:
    translator = patchlight.load(make("pix2pix")[0], device="cpu")
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        picture(32, 32).save(tmp_path / "in" / f"{name}.png")
    translate_files(translator, find_jobs(str(tmp_path / "in"), tmp_path / "out", None, overwrite=False))
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == 1


def test_what_fails_is_told_and_the_rest_is_done(make: Make, folder: Path, tmp_path: Path) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    (folder / "empty.png").touch()
    (folder / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (folder / "text.jpg").write_text("text", encoding="utf-8")
    (folder / "circle").symlink_to(folder)
    jobs = find_jobs(str(folder), tmp_path / "out", None, overwrite=False)
    (tmp_path / "out" / "sub folder").mkdir(parents=True)
    (tmp_path / "out" / "sub folder" / "ä ö 1.png").mkdir()
    ticks: list[int] = []
    failures = translate_files(translator, jobs, 4, lambda: ticks.append(1))
    assert [(f.source.name, f.reason.partition(" (")[0]) for f in failures] == [
        ("empty.png", "it cannot be read as an image"),
        ("nowhere.png", "it cannot be read as an image"),
        ("ä ö 1.png", f"its result {tmp_path / 'out' / 'sub folder' / 'ä ö 1.png'} cannot be written"),
        ("text.jpg", "it cannot be read as an image"),
    ]
    assert len(ticks) == 27
    assert len([path for path in (tmp_path / "out").rglob("*.png") if path.is_file()]) == 23
    assert not list((tmp_path / "out").rglob("*.part"))


def test_an_image_for_which_memory_is_short_does_not_end_the_rest(
    make: Make, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    translate = translator.translate

    def short(images: Tensor, seeds: Any) -> Tensor:
        if images.shape[-1] == 64:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
        return translate(images, seeds=seeds)

    monkeypatch.setattr(translator, "translate", short)
    failures = translate_files(translator, find_jobs(str(folder), tmp_path / "out", None, overwrite=False), 8)
    assert [failure.reason for failure in failures] == [
        "there is not enough memory for 8 x 64x32 pixels: give a smaller batch_size or tile"
    ] * 8
    assert len(list((tmp_path / "out").rglob("*.png"))) == 16


def test_places_of_the_results(folder: Path, picture: Draw, tmp_path: Path) -> None:
    picture(8, 8).save(folder / "b.JPEG")
    picture(8, 8).save(folder / "c.bmp")
    out = tmp_path / "out"

    def names(given: str, format: str | None = None) -> set[str]:
        jobs = find_jobs(given, out, format, overwrite=False)  # type: ignore[arg-type]
        return {job.target.relative_to(out).as_posix() for job in jobs}

    assert names(str(folder / "b.JPEG")) == {"b.JPEG"}
    assert names(str(folder / "[bc].*")) == {"b.JPEG", "c.png"}
    assert names(str(folder / "b.JPEG"), "jpg") == {"b.JPEG"}
    assert names(str(folder / "b.JPEG"), "webp") == {"b.webp"}
    assert names(str(folder / "*" / "ä ö 1.png")) == {"sub folder/ä ö 1.png"}
    assert "sub folder/ä ö 23.png" in names(str(folder / "**" / "*.png"))
    assert len(names(str(folder))) == 26


def test_results_inside_the_input_are_not_translated_again(folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    (out / "done.png").write_bytes((folder / "ä ö 0.png").read_bytes())
    assert len(find_jobs(str(folder), out, None, overwrite=False)) == 24


def test_nothing_is_overwritten_unasked(folder: Path, picture: Draw, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for i in (0, 2, 4, 6, 8, 10):
        (out / f"ä ö {i}.png").touch()
    with pytest.raises(ConfigError, match=r"holds 6 of the results already \(.* and 1 more\): .* overwrite=true"):
        find_jobs(str(folder), out, None, overwrite=False)
    assert len(find_jobs(str(folder), out, None, overwrite=True)) == 24
    with pytest.raises(ConfigError, match="would overwrite the input"):
        find_jobs(str(folder), folder, None, overwrite=True)
    picture(8, 8).save(folder / "ä ö 0.jpg")
    with pytest.raises(ConfigError, match=r"ä ö 0.jpg and .*ä ö 0.png would both become .*ä ö 0.webp: rename one"):
        find_jobs(str(folder), out, "webp", overwrite=True)


def test_no_images(tmp_path: Path) -> None:
    for given, message in (
        (tmp_path, "has no images"),
        (tmp_path / "a.png", "is not there"),
        (tmp_path / "*", "matches no"),
    ):
        with pytest.raises(DataError, match=message):
            find_jobs(str(given), tmp_path / "out", None, overwrite=False)


def test_large_images_among_small_ones(make: Make, picture: Draw, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i, size in enumerate([(32, 32), (700, 420), (32, 32), (40, 900)]):
        picture(*size, seed=i).save(root / f"{i}.png")
    translator = patchlight.load(make("cyclegan")[0], device="cpu", tile=384)
    jobs = find_jobs(str(root), tmp_path / "out", None, overwrite=False)
    assert translate_files(translator, jobs, 4) == []
    for job in jobs:
        with Image.open(job.source) as source, Image.open(job.target) as target:
            difference = np.abs(np.asarray(target).astype(int) - np.asarray(translator(source)).astype(int))
        assert difference.max() <= 1


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
def test_patch_maps_lie_beside_the_images(make: Make, picture: Draw, tmp_path: Path, model: str) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for name, size in (("a.png", (64, 48)), ("b.jpg", (700, 420)), ("small.png", (20, 20))):
        picture(*size).save(root / name)
    trained = TrainedModel(make(model)[0])
    translator, scorer = trained.translator(device="cpu", tile=384), trained.patch_scorer(device="cpu")
    jobs = find_jobs(str(root), tmp_path / "out", None, overwrite=False, n_maps=1)
    failures = translate_files(translator, jobs, scorer=scorer)
    assert [(failure.source.name, failure.reason) for failure in failures] == [
        ("small.png", "20x20 pixels are too few for a patch map, which needs 24 on each side")
    ]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["a.png", "a_patchmap.png", "b.jpg", "b_patchmap.png", "small.png"]
    source = to_values([np.asarray(picture(64, 48))], translator.device)
    (expected,) = scorer.draw(
        as_picture(np.asarray(translator(picture(64, 48)))), scorer(translator.translate(source)[0], source[0])
    )
    with Image.open(tmp_path / "out" / "a_patchmap.png") as drawn:
        assert np.abs(np.asarray(drawn).astype(int) - np.asarray(expected)).max() <= 1


def test_a_patch_map_for_each_scale(make: Make, picture: Draw, tmp_path: Path) -> None:
    two = ("model.discriminator._target_=two_scales.TwoScales", "model.discriminator.n_layers=1")
    trained = TrainedModel(make("pix2pix", *two)[0], trust=True)
    translator, scorer = trained.translator(device="cpu"), trained.patch_scorer(device="cpu")
    picture(64, 64).save(tmp_path / "a.png")
    jobs = find_jobs(str(tmp_path / "a.png"), tmp_path / "out", None, overwrite=False, n_maps=scorer.n_maps)
    assert translate_files(translator, jobs, scorer=scorer) == []
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["a.png", "a_patchmap_scale1.png", "a_patchmap_scale2.png"]
    fine, coarse = (np.asarray(Image.open(path)).astype(int) for path in written[1:])
    assert fine.shape == coarse.shape == (128, 128, 3)
    assert np.abs(fine - coarse).max() > 20


def test_patch_maps_do_not_replace_anything(picture: Draw, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    picture(32, 32).save(root / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_patchmap.png").touch()
    with pytest.raises(ConfigError, match="holds 1 of the results already .*a_patchmap.png"):
        find_jobs(str(root), tmp_path / "out", None, overwrite=False, n_maps=1)
    picture(32, 32).save(root / "a_patchmap.png")
    with pytest.raises(ConfigError, match="would both become .*a_patchmap.png"):
        find_jobs(str(root), tmp_path / "out", None, overwrite=True, n_maps=1)


def test_few_large_images_are_in_memory(
    make: Make, picture: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i in range(20):
        picture(64, 64, seed=i).save(root / f"{i:02d}.png")
    monkeypatch.setattr(pipeline, "WAITING_PIXELS", 2 * 64 * 64)
    most, now, lock = [0], [0], threading.Lock()
    read, write = pipeline._read, pipeline._write

    def reading(*arguments: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        return read(*arguments)

    def writing(*arguments: Any) -> None:
        write(*arguments)
        with lock:
            now[0] -= 1

    monkeypatch.setattr(pipeline, "_read", reading)
    monkeypatch.setattr(pipeline, "_write", writing)
    translator = patchlight.load(make("cyclegan")[0], device="cpu")
    assert translate_files(translator, find_jobs(str(root), tmp_path / "out", None, overwrite=False), 1) == []
    assert most[0] <= 8
