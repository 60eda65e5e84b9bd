"""Colorization: pictures as lightness and chroma, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image

from patchlight.data import Augment, ImageDataModule
from patchlight.data.contents import compared
from patchlight.data.images import read_image, to_array, to_levels
from patchlight.data.lab import Chroma, Lightness, lab_to_rgb, picture_of, rgb_to_lab
from patchlight.errors import DataError


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100.0, 0.0, 0.0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (53.2406, 80.0923, 67.2031)),
        ((0, 1, 0), (87.7351, -86.1830, 83.1795)), ((0, 0, 1), (32.2957, 79.1855, -107.8573)),
        ((0.2, 0.2, 0.2), (21.2467, 0, 0)),
    ],
)  # fmt: skip
def test_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert rgb_to_lab(column(*rgb)).flatten().tolist() == pytest.approx(lab, abs=0.02)
    assert lab_to_rgb(rgb_to_lab(column(*rgb))).flatten().tolist() == pytest.approx(rgb, abs=1e-3)


def test_every_level_comes_back() -> None:
    levels = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    lightness, chroma = Lightness().to_values(levels, 255), Chroma().to_values(levels, 255)
    assert lightness.shape == (2, 1, 64, 64)
    assert -1 <= lightness.min() <= lightness.max() <= 1.001
    assert torch.equal(Chroma().to_levels(chroma, lightness, 255), levels.to(torch.uint8))


def test_lightness_is_kept_whatever_the_colours() -> None:
    """Of colours that no screen shows, too: most of these are none, and the darkest and brightest have little room."""
    random = torch.Generator().manual_seed(0)
    lightness = torch.rand(3, 1, 64, 64, generator=random) * 2 - 1
    lightness[1], lightness[2] = lightness[1] / 50 - 0.98, lightness[2] / 50 + 0.98
    wild = torch.rand(3, 2, 64, 64, generator=random) * 2 - 1
    found = picture_of(lightness, wild)
    assert -1 <= found.min() <= found.max() <= 1
    wanted = (lightness.double() + 1) * 50
    assert (rgb_to_lab((found.double() + 1) / 2)[:, :1] - wanted).abs().max() < 1e-4  # of 100
    for full in (255, 65535):
        levels = Chroma().to_levels(wild, lightness, full).double()
        low, high = (rgb_to_lab((levels + half) / full)[:, :1] for half in (-0.5, 0.5))
        assert ((low - 1e-4 < wanted) & (wanted < high + 1e-4)).all(), "off by more than the rounding"
    grey = picture_of(lightness, torch.full_like(wild, float("nan")))
    assert (to_levels(grey, nearest=True).int() - to_levels(grey, nearest=True)[:, :1].int()).abs().max() <= 1


def test_figures_compare_pictures() -> None:
    levels = torch.randint(256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    a, b = Lightness().to_values(levels, 255), Chroma().to_values(levels, 255)
    images = compared({"real_A": a, "real_B": b, "fake_B": b * 0}, {"A": Lightness(), "B": Chroma()})
    assert images["real_B"].shape == (1, 3, 8, 8)
    assert torch.equal(to_levels(images["real_B"], nearest=True), levels.to(torch.uint8))
    assert torch.allclose(images["fake_B"], images["real_A"], atol=1e-6), "without colours it is the gray picture"
    assert compared({"real_A": a}, {})["real_A"] is a


def test_the_two_parts_of_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(tmp_path / f"train/{i}.png")
    settings: dict[str, Any] = {
        "root": tmp_path, "colorization": True, "channels_a": 1, "channels_b": 2, "num_workers": 0, "val_size": 0,
    }  # fmt: skip
    data = ImageDataModule(image_size=12, load_size=12, flip=False, **settings)
    data.setup("fit")
    for batch in data.train_dataloader():
        assert batch["A_path"] == batch["B_path"]
        array = to_array(read_image(batch["A_path"][0]))
        found = Chroma().to_levels(batch["B"], batch["A"], 255)
        assert np.array_equal(found[0].permute(1, 2, 0).numpy(), array)
    cropped = ImageDataModule(image_size=8, load_size=12, **settings)
    cropped.setup("fit")
    batch = next(iter(cropped.train_dataloader()))
    array = to_array(read_image(batch["A_path"][0])).astype(int)
    found = Chroma().to_levels(batch["B"], batch["A"], 255)[0].permute(1, 2, 0).numpy().astype(int)
    windows = [array[y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    assert any(np.array_equal(found, w) or np.array_equal(found, w[:, ::-1]) for w in windows), "one crop for both"
    inverts = Augment(colour_b=[albumentations.InvertImg(p=1)])
    with pytest.raises(DataError, match="data.augment.colour_a and colour_b are not for data.colorization=true"):
        ImageDataModule(image_size=8, load_size=12, augment=inverts, **settings)
