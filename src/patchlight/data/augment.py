"""Albumentations pipelines whose draws come from the sample's own random generator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlight.errors import DataError

Array = NDArray[np.uint8]


class Augment:
    """Albumentations transforms after the preprocessing, on 8-bit H W C arrays.

    `geometry` moves both images of a pair alike (unpaired images each by themselves); `colour_a` and `colour_b` change
    only the domain they name, as the files have it. `Compose` ignores global seeds and gives all worker processes the
    same draws, so it is seeded anew for every sample.
    """

    def __init__(
        self,
        geometry: Sequence[Any] | None = None,
        colour_a: Sequence[Any] | None = None,
        colour_b: Sequence[Any] | None = None,
    ) -> None:
        self._geometry = _compose(geometry, {"partner": "image"})
        self._colour_a = _compose(colour_a, {})
        self._colour_b = _compose(colour_b, {})

    def __call__(self, a: Array, b: Array, rng: np.random.Generator, *, paired: bool) -> tuple[Array, Array]:
        """Both images of a sample, changed; for pairs they have to have the same size.

        Raises:
            DataError: a transform changed the size of an image, or made it something other than 8-bit values.
        """
        new_a, new_b = a, b
        if self._geometry is not None:
            if paired:
                self._geometry.set_random_seed(_draw(rng))
                moved = self._geometry(image=new_a, partner=new_b)
                new_a, new_b = moved["image"], moved["partner"]
            else:
                new_a, new_b = _run(self._geometry, new_a, rng), _run(self._geometry, new_b, rng)
        if self._colour_a is not None:
            new_a = _run(self._colour_a, new_a, rng)
        if self._colour_b is not None:
            new_b = _run(self._colour_b, new_b, rng)
        for name, before, after in (("A", a, new_a), ("B", b, new_b)):
            if before.shape != after.shape:
                raise DataError(
                    f"data.augment changes images of domain {name} from {before.shape} to {after.shape} (height, "
                    f"width, channels): use transforms that keep the size, and data.preprocess for cropping"
                )
            if after.dtype != np.uint8:
                raise DataError(
                    f"data.augment turns images of domain {name} into {after.dtype}: leave transforms such as "
                    f"Normalize and ToFloat out, images come as 8-bit values and are scaled to [-1, 1] afterwards"
                )
        return new_a, new_b


def _compose(transforms: Sequence[Any] | None, targets: dict[str, str]) -> Any:
    if not transforms:
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations.Compose(list(transforms), additional_targets=targets)


def _run(compose: Any, image: Array, rng: np.random.Generator) -> Array:
    compose.set_random_seed(_draw(rng))
    changed: Array = compose(image=image)["image"]
    return changed


def _draw(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
