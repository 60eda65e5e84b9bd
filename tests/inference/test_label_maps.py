"""Label maps of class indices through a trained generator: every kind of image, in tiles, and to be scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from label_sets import palette_image
from PIL import Image

import patchlight
from patchlight.errors import ConfigError, DataError
from patchlight.inference.jobs import find_jobs
from patchlight.inference.loading import TrainedModel
from patchlight.inference.pipeline import translate_files
from patchlight.inference.pixels import from_array, to_values
from patchlight.page.intake import Limits, choose_palette, read_upload

Make = Callable[..., Any]

LABELS = np.random.default_rng(3).integers(0, 4, (24, 32)).astype(np.uint8)


def one_hot(labels: np.ndarray[Any, Any], n_classes: int) -> torch.Tensor:
    return torch.stack([torch.from_numpy(labels == i).float() for i in range(n_classes)])


def test_every_kind_of_image(make: Make) -> None:
    path, method = make("pix2pixhd", "data.n_classes=4")
    translator = patchlight.load(path, device="cpu")
    with torch.no_grad():
        expected = method.generator.eval()(one_hot(LABELS, 4)[None])[0]
    torch.testing.assert_close(translator(one_hot(LABELS, 4)), expected, rtol=1e-5, atol=1e-5)
    levels = translator(LABELS)
    assert np.abs(levels / 127.5 - 1 - expected.permute(1, 2, 0).numpy()).max() < 0.01
    for image in (palette_image(LABELS), Image.fromarray(LABELS)):
        assert np.array_equal(np.asarray(translator(image)), levels)
    assert np.array_equal(translator(LABELS.astype(np.uint16)), levels)
    with pytest.raises(DataError, match="it holds the class 7, and data.n_classes=4 allows 0 to 3"):
        translator(np.full((24, 32), 7, np.uint8))
    with pytest.raises(DataError, match="it is RGB, and a label map"):
        translator(Image.fromarray(LABELS).convert("RGB"))
    # The channels of a tensor are what the network reads; sides that it cannot take are padded.
    assert translator(LABELS[:21, :30]).shape == (21, 30, 3)
    deep, _ = make("pix2pixhd", "data.n_classes=4", "model.generator.n_downsampling=4")
    assert patchlight.load(deep, device="cpu")(LABELS[:5, :30]).shape == (5, 30, 3)


def test_tiles_are_cut_from_the_boundaries_of_the_whole_image(make: Make) -> None:
    path, _ = make("pix2pixhd", "data.n_classes=4", "data.instances=true", "model.generator.norm=none")
    labels = np.random.default_rng(4).integers(0, 4, (420, 400)).astype(np.uint8)
    given = np.dstack([labels, np.random.default_rng(5).integers(0, 3, labels.shape).astype(np.uint8)])
    whole = patchlight.load(path, device="cpu", tile=None)(given)
    tiled = patchlight.load(path, device="cpu", tile=384)(given)
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 1
    with pytest.raises(DataError, match="the model reads instances beside the classes"):
        patchlight.load(path, device="cpu")(labels)


def test_files_with_instances_and_patch_maps(make: Make, tmp_path: Path) -> None:
    path, _ = make("pix2pixhd", "data.n_classes=4", "data.instances=true")
    for folder in ("labels", "numbers"):
        (tmp_path / folder).mkdir()
    numbers = np.random.default_rng(6).integers(0, 60000, (32, 32)).astype(np.uint16)
    labels = np.random.default_rng(7).integers(0, 4, (32, 32)).astype(np.uint8)
    palette_image(labels).save(tmp_path / "labels/a.png")
    Image.fromarray(labels + 2).save(tmp_path / "labels/b.png")
    for name in "ab":
        Image.fromarray(numbers).save(tmp_path / f"numbers/{name}.tif")
    model = TrainedModel(path)
    translator, scorer = model.translator(device="cpu"), model.patch_scorer(device="cpu")
    jobs = find_jobs(
        str(tmp_path / "labels"), tmp_path / "out", None, False, scorer.n_maps, str(tmp_path / "numbers")
    )  # fmt: skip
    failures = translate_files(translator, jobs, scorer=scorer)
    assert [(failure.source.name, failure.reason) for failure in failures] == [
        ("b.png", "it holds the class 5, and data.n_classes=4 allows 0 to 3")
    ]
    result = np.asarray(Image.open(tmp_path / "out/a.png"))
    given = np.dstack([labels, numbers])
    assert np.array_equal(result, translator(given))
    assert (tmp_path / "out/a_patchmap_scale2.png").is_file()
    # The maps of arrays, as for files, are those of tensors.
    array = translator.array_of(from_array(given))
    expected = scorer(to_values([result], translator.device)[0], to_values([array], translator.device, model.labels)[0])
    for own, other in zip(scorer.of_arrays(result, array), expected, strict=True):
        torch.testing.assert_close(own, other)
    (tmp_path / "numbers/b.tif").unlink()
    with pytest.raises(DataError, match="has no image b for b.png"):
        find_jobs(str(tmp_path / "labels"), tmp_path / "out2", None, False, 0, str(tmp_path / "numbers"))


def test_the_page_paints_with_the_classes(make: Make, tmp_path: Path) -> None:
    path, _ = make("pix2pixhd", "data.n_classes=4")
    model = TrainedModel(path)
    palette = choose_palette("auto", model.config, "AtoB")
    assert list(palette.colours) == [f"class {i}" for i in range(4)]
    image = np.array(list(palette.colours.values()), np.uint8)[LABELS]
    assert (palette.nearest(image) == LABELS).all()
    palette_image(LABELS).save(tmp_path / "label.png")
    pixels = read_upload(tmp_path / "label.png", Limits(2**20, 10**6))
    assert np.array_equal(model.translator(device="cpu").array_of(pixels)[:, :, 0], LABELS)


def test_records_of_label_maps_are_checked(make: Make) -> None:
    path, _ = make("pix2pixhd", "data.n_classes=4")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["patchlight"]["config"]["data"]["n_classes"] = "many"
    torch.save(checkpoint, path)
    with pytest.raises((ConfigError, DataError), match="n_classes"):
        TrainedModel(path)
