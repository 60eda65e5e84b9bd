"""Every pixel is Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchlight.data import resize as module
from patchlight.data.resize import resize

Array = NDArray[np.uint8]


def by_pillow(image: Array, size: tuple[int, int]) -> Array:
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).reshape(*size, image.shape[2])


def pictures(height: int, width: int, channels: int, rng: np.random.Generator) -> list[Array]:
    """Noise, hard edges, which overshoot, and a smooth slope, whose values lie close together."""
    noise = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    slope = np.linspace(0, 255, width)[None, :, None] * np.linspace(0.3, 1, height)[:, None, None]
    return [noise, (noise > 127).astype(np.uint8) * 255, np.repeat(slope, channels, axis=2).astype(np.uint8)]


@pytest.mark.parametrize(
    ("before", "after"),
    [((256, 256), (286, 286)), ((256, 256), (143, 143)), ((256, 256), (256, 286)), ((256, 256), (286, 256)),
     ((64, 64), (286, 286)), ((200, 320), (286, 286)), ((300, 500), (286, 286)), ((900, 1000), (143, 143)),
     ((1, 1), (7, 5)), ((2, 3), (300, 400))],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_the_sizes_that_are_used(before: tuple[int, int], after: tuple[int, int], channels: int) -> None:
    for image in pictures(*before, channels, np.random.default_rng(0)):
        assert np.array_equal(resize(image, after), by_pillow(image, after))


def test_any_sizes_and_boxes() -> None:
    rng = np.random.default_rng(1)
    fast = 0
    for _ in range(200):
        height, width, new_height, new_width = (int(v) for v in rng.integers(1, 160, 4))
        if rng.random() < 0.6:
            new_height, new_width = new_height + height, new_width + width
        fast += module._pays((height, width), (new_height, new_width))
        left, top = int(rng.integers(new_width)), int(rng.integers(new_height))
        right, bottom = int(rng.integers(left + 1, new_width + 1)), int(rng.integers(top + 1, new_height + 1))
        for image in pictures(height, width, int(rng.choice([1, 3])), rng):
            expected = by_pillow(image, (new_height, new_width))
            assert np.array_equal(resize(image, (new_height, new_width)), expected)
            part = resize(image, (new_height, new_width), (left, top, right, bottom))
            assert np.array_equal(part, expected[top:bottom, left:right])
    assert 120 < fast < 200, "both ways are tried"


def test_wide_images_are_done_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pictures(64, 50, 3, np.random.default_rng(2))[0]
    monkeypatch.setattr(module, "STRIP", 31)
    assert np.array_equal(resize(image, (80, 70)), by_pillow(image, (80, 70)))


def test_views_are_taken_and_nothing_is_computed_where_sizes_agree() -> None:
    image = pictures(256, 512, 3, np.random.default_rng(3))[0]
    image.flags.writeable = False
    half = image[:, 256:]
    assert np.array_equal(resize(half, (286, 286)), by_pillow(np.ascontiguousarray(half), (286, 286)))
    kept = resize(image, (256, 512), (10, 20, 110, 90))
    assert np.shares_memory(kept, image)
    assert np.array_equal(kept, image[20:90, 10:110])
