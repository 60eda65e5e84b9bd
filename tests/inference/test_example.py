"""The model that comes with the package: a first look without a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patchlight
from commands import Typed
from patchlight.example import IMAGES, MODEL, images_path, model_path
from patchlight.page.catalogue import Catalogue, Models, find_choices
from patchlight.page.intake import FACADES
from small_models import write_checkpoint


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in MODEL.parent.rglob("*") if path.is_file()) < 3_000_000
    assert len(sorted(IMAGES.glob("*.png"))) == 8


def test_it_paints_house_fronts(typed: Typed, tmp_path: Path) -> None:
    """As the README types it: light sky at the top, walls of another colour than the sky, windows darker than walls."""
    status, said, complaints = typed("translate", "ckpt=example", "input=example", "output=out", "device=cpu")
    assert (status, complaints) == (0, "")
    assert "8 images in " in said
    names = sorted(path.name for path in IMAGES.glob("*.png"))
    assert sorted(path.name for path in Path("out").glob("*.png")) == names
    skies, walls, windows = (np.zeros((0, 3)) for _ in range(3))
    for name in names:
        with Image.open(IMAGES / name) as labels, Image.open(Path("out", name)) as picture:
            classes, pixels = np.asarray(labels.convert("RGB")), np.asarray(picture.convert("RGB"))
        assert pixels.shape == (128, 128, 3)
        top = np.zeros(classes.shape[:2], bool)
        top[:16] = True
        colours = FACADES.colours
        skies = np.vstack([skies, pixels[(classes == colours["background"]).all(2) & top]])
        walls = np.vstack([walls, pixels[(classes == colours["facade"]).all(2)]])
        windows = np.vstack([windows, pixels[(classes == colours["window"]).all(2)]])
    assert skies[:, 2].mean() > skies[:, 0].mean() + 15, "the sky is blue"
    assert walls[:, 0].mean() > walls[:, 2].mean(), "walls are warmer"
    assert windows.mean() < walls.mean() - 30, "windows are dark"


def test_it_opens_in_python_and_on_the_page() -> None:
    with Image.open(sorted(IMAGES.glob("*.png"))[0]) as labels:
        picture = patchlight.load("example", device="cpu")(labels.convert("RGB"))
    assert picture.size == (128, 128)
    choices = find_choices(Path("example"))
    catalogue = Catalogue(choices, Models("cpu"), "auto")
    assert (len(choices), catalogue.first) == (1, "model")
    assert catalogue.palette_for("model", "AtoB") is FACADES
    image = torch.zeros(3, 128, 128)
    (logits,) = catalogue.loaded("model").patch_scorer("AtoB")(image, image)
    assert logits.ndim == 2
    assert logits.isfinite().all()


def test_what_is_there_under_its_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (model_path("example"), images_path("example")) == (MODEL, IMAGES)
    assert model_path("./example") == Path("./example")
    write_checkpoint(tmp_path / "example", "pix2pix")
    assert model_path("example") == Path("example")
    assert patchlight.load("example", device="cpu").direction == "AtoB"
