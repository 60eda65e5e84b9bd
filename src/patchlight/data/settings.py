"""Settings of the data section: their types, and what is refused before anything is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveInt

from patchlight.data.sources import ImageSet, MaskedSet, Pairing
from patchlight.data.transforms import Augment, Geometry, Preprocess, as_size
from patchlight.errors import DataError

Sides = PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
"""Pixels: of both sides, or [height, width]."""

Numbers = Annotated[list[PositiveInt], Field(min_length=1)]
"""Of bands, from 1 on."""

Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Range = Pair | Annotated[list[Pair], Field(min_length=1)] | dict[Literal["percentiles"], Pair]
"""The limits of all bands or of each, or percentiles of the training images."""


def require_choices(**settings: tuple[str, Any]) -> None:
    """Raise a DataError unless each value is one of its literal type."""
    for name, (value, choices) in settings.items():
        if value not in get_args(choices):
            raise DataError(f"data.{name}={value} should be one of {', '.join(get_args(choices))}")


def require_integers(minimum: int, others: Sequence[object] = (), **settings: object) -> None:
    """Raise a DataError unless each setting is an integer of at least `minimum`, or one of `others`."""
    for name, number in settings.items():
        wrong = isinstance(number, bool) or not isinstance(number, int) or number < minimum
        if wrong and number not in others:
            raise DataError(f"data.{name}={number} should be an integer of at least {minimum}")


def require_cache(cache: object) -> None:
    """Raise a DataError unless `data.cache` is auto or a number of GiB."""
    gigabytes = isinstance(cache, int | float) and not isinstance(cache, bool) and 0 <= cache < math.inf
    if cache != "auto" and not gigabytes:
        raise DataError(f"data.cache={cache} should be auto, or a number of GiB of at least 0")


def geometry_of(preprocess: Preprocess, load_size: Any, image_size: Any, flip: bool, size_multiple: int) -> Geometry:
    """Resize, crop and flip, with sizes of pixels, one number or [height, width].

    Raises:
        DataError: there is nothing to crop from, or the crop does not suit the generator.
    """
    load, size = as_size("load_size", load_size), as_size("image_size", image_size)
    too_low = preprocess == "resize_and_crop" and load[0] < size[0]
    if too_low or (preprocess in ("resize_and_crop", "scale_width_and_crop") and load[1] < size[1]):
        raise DataError(
            f"data.load_size={load_size} is smaller than data.image_size={image_size}, so there is nothing to crop "
            f"from: make it at least as large"
        )
    if "crop" in preprocess and (size[0] % size_multiple or size[1] % size_multiple):
        raise DataError(
            f"data.image_size={size[0]}x{size[1]} does not suit the generator, which needs multiples of "
            f"{size_multiple}: change it, or use a generator of another depth (model/generator)"
        )
    return Geometry(preprocess, load, size, flip)


def require_place_for_masks(pairing: Pairing, source: ImageSet) -> None:
    """Raise a DataError unless pairs of a source can have masks."""
    if pairing != "paired" or not isinstance(source, MaskedSet):
        raise DataError(
            "data.mask=true is of pairs in folders, an archive, a manifest or a table: use data=paired, and one of "
            "these as data/source"
        )


def require_one_picture(pairing: Pairing, augment: Augment | None) -> None:
    """Raise a DataError unless both parts of a picture stay parts of the same one."""
    if pairing != "paired":
        raise DataError("data.colorization=true is of two parts of one picture: leave data.pairing=paired")
    if augment is not None and augment.changes_colours:
        raise DataError("data.augment.colour_a and colour_b are not for data.colorization=true: use geometry alone")
