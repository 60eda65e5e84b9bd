from __future__ import annotations

import numpy as np
import pytest
from omegaconf import OmegaConf

from patchlight.errors import ConfigError
from patchlight.page.intake import ANY, FACADES, Palette, choose_palette, parse_palette, to_hex


def test_pixels_go_to_the_nearest_colour() -> None:
    blends = np.array([[[0, 88, 255], [0, 89, 255], [250, 10, 5]], [[100, 5, 0], [255, 200, 0], [0, 0, 222]]], np.uint8)
    snapped = FACADES.snapped(blends)
    # 88 is as far from the wall's 48 as from the window's 128: the first of the two is taken.
    assert snapped.tolist() == [
        [[0, 48, 255], [0, 128, 255], [255, 0, 0]],
        [[174, 0, 0], [255, 239, 0], [0, 0, 222]],
    ]
    assert snapped.dtype == np.uint8


def test_what_is_painted_in_the_palette_stays() -> None:
    colours = np.array([list(FACADES.colours.values())], np.uint8)
    assert np.array_equal(FACADES.snapped(colours), colours)
    assert len(FACADES.colours) == 12
    assert next(iter(FACADES.colours.values())) == (0, 0, 222)


def test_a_list_of_colours_is_a_label_map() -> None:
    palette = parse_palette(["#000000", "wall #0030FF", "old wood  #a05010"])
    assert palette == Palette({"#000000": (0, 0, 0), "wall": (0, 48, 255), "old wood": (160, 80, 16)}, labels=True)
    assert to_hex((0, 48, 255)) == "#0030ff"


def test_settings_by_name() -> None:
    assert parse_palette("auto") == "auto"
    assert parse_palette("facades") is FACADES
    assert parse_palette(None) is ANY


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["#000000", "wall"], "palette: 'wall' should be '#rrggbb'"),
        (["wall #000000", "wall #ffffff"], "palette: wall is there twice"),
        (["#000000"], "two colours or more"),
    ],
)
def test_colours_that_cannot_be_understood(value: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_palette(value)


@pytest.mark.parametrize(
    ("config", "direction", "expected"),
    [
        ({"task": "x", "data": {"root": "data/facades", "pairing": "paired"}}, "BtoA", FACADES),
        ({"task": "x", "data": {"root": "data/facades", "pairing": "paired"}}, "AtoB", ANY),
        ({"task": "facades_pix2pix", "data": {"root": "elsewhere", "pairing": "paired"}}, "BtoA", FACADES),
        ({"data": {"root": "data/oranges", "pairing": "unpaired"}}, "BtoA", ANY),
        ({"data": {"root": "s", "pairing": "paired", "render": {"size": 256}}}, "AtoB", FACADES),
        ({"data": {"root": "s", "pairing": "paired", "render": {"size": 256}}}, "BtoA", ANY),
    ],
)
def test_auto_goes_by_the_training(config: dict[str, object], direction: str, expected: Palette) -> None:
    assert choose_palette("auto", OmegaConf.create(config), direction) is expected  # type: ignore[arg-type]
    assert choose_palette(ANY, OmegaConf.create(config), direction) is ANY  # type: ignore[arg-type]
