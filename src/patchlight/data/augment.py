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
            DataError: a transform failed, changed the size of an image, or made it something other than 8-bit values.
        """
        new_a, new_b = a, b
        if self._geometry is not None:
            if paired:
                new_a, new_b = _run("geometry", self._geometry, {"image": new_a, "partner": new_b}, rng)
            else:
                (new_a,) = _run("geometry", self._geometry, {"image": new_a}, rng)
                (new_b,) = _run("geometry", self._geometry, {"image": new_b}, rng)
        if self._colour_a is not None:
            (new_a,) = _run("colour_a", self._colour_a, {"image": new_a}, rng)
        if self._colour_b is not None:
            (new_b,) = _run("colour_b", self._colour_b, {"image": new_b}, rng)
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


def _run(key: str, compose: Any, images: dict[str, Array], rng: np.random.Generator) -> tuple[Array, ...]:
    """The images, all changed by one draw."""
    compose.set_random_seed(int(rng.integers(2**31)))
    try:
        changed = compose(**images)
    except Exception as error:  # transforms raise all kinds where they cannot take an image
        reason = " ".join(str(error).split()) or type(error).__name__
        shapes = " and ".join(str(image.shape) for image in images.values())
        raise DataError(
            f"data.augment.{key} cannot take images of {shapes} (height, width, channels): {reason}"
        ) from error
    return tuple(changed[name] for name in images)
