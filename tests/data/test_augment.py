from __future__ import annotations

import pickle
from typing import Any

import albumentations
import numpy as np
import pytest
from numpy.typing import NDArray

from patchlight.data import Augment, sample_rng
from patchlight.errors import DataError

AFFINE = albumentations.Affine(rotate=(-30, 30), p=1.0)


def noise(height: int = 24, width: int = 16, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_nothing_is_done_unless_asked_for() -> None:
    a, b = noise(), noise(seed=1)
    rng = sample_rng(0, 0, 0)
    new_a, new_b = Augment()(a, b, rng, paired=True)
    assert new_a is a
    assert new_b is b
    assert rng.random() == sample_rng(0, 0, 0).random(), "and nothing is drawn"


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("paired", [True, False])
def test_geometry_is_a_function_of_the_samples_generator(paired: bool, channels: tuple[int, int]) -> None:
    a, b = (noise(channels=c) for c in channels)
    first, again, later = (
        Augment(geometry=[AFFINE])(a, b, sample_rng(0, epoch, 5), paired=paired) for epoch in (0, 0, 1)
    )
    for i, (source, image) in enumerate(zip((a, b), first, strict=True)):
        assert image.shape == source.shape
        assert image.dtype == np.uint8
        assert np.array_equal(image, again[i])
        assert not np.array_equal(image, later[i])
        assert not np.array_equal(image, source)


def test_the_same_object_repeats_itself_too() -> None:
    augment = Augment(geometry=[AFFINE], colour_b=[albumentations.RandomBrightnessContrast(p=1.0)])
    runs = [augment(noise(), noise(), sample_rng(0, epoch, 0), paired=True) for epoch in (0, 1, 0)]
    assert all(np.array_equal(x, y) for x, y in zip(runs[0], runs[2], strict=True))
    assert not any(np.array_equal(x, y) for x, y in zip(runs[0], runs[1], strict=True))


def test_pairs_move_together_and_others_apart() -> None:
    augment = Augment(geometry=[AFFINE])
    a, b = augment(noise(), noise(), sample_rng(0, 0, 0), paired=True)
    assert np.array_equal(a, b)
    a, b = augment(noise(), noise(), sample_rng(0, 0, 0), paired=False)
    assert not np.array_equal(a, b)


def test_colours_stay_in_their_domain() -> None:
    brighter = [albumentations.RandomBrightnessContrast(brightness_limit=(0.2, 0.2), contrast_limit=(0, 0), p=1.0)]
    gray = np.full((4, 4, 3), 100, np.uint8)
    a, b = Augment(colour_a=brighter)(gray, gray, sample_rng(0, 0, 0), paired=True)
    assert (a.min(), a.max(), b.min(), b.max()) == (151, 151, 100, 100)
    a, b = Augment(colour_b=brighter)(gray, gray, sample_rng(0, 0, 0), paired=False)
    assert (a.min(), a.max(), b.min(), b.max()) == (100, 100, 151, 151)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"geometry": [albumentations.Resize(8, 8)]},
            r"data.augment changes images of domain A from \(24, 16, 3\) to \(8, 8, 3\) .*: use transforms that keep",
        ),
        (
            {"colour_b": [albumentations.ToFloat(p=1.0)]},
            "data.augment turns images of domain B into float32: leave transforms such as Normalize and ToFloat out",
        ),
    ],
)
def test_refused_transforms(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Augment(**settings)(noise(), noise(), sample_rng(0, 0, 0), paired=True)


def test_a_transform_that_cannot_take_the_image() -> None:
    augment = Augment(colour_b=[albumentations.ChannelDropout(p=1.0)])
    with pytest.raises(
        DataError,
        match=r"data.augment.colour_b cannot take images of \(24, 16, 1\) \(height.*channels\): .*one channel",
    ):
        augment(noise(), noise(channels=1), sample_rng(0, 0, 0), paired=True)


def test_it_travels_to_a_worker_process() -> None:
    augment = Augment(geometry=[AFFINE], colour_a=[albumentations.RandomBrightnessContrast(p=1.0)])
    copy = pickle.loads(pickle.dumps(augment))
    here, there = (f(noise(), noise(), sample_rng(0, 0, 0), paired=True) for f in (augment, copy))
    assert all(np.array_equal(x, y) for x, y in zip(here, there, strict=True))
