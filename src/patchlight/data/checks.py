"""Refusing values of the data section by their keys, with what is allowed."""

from __future__ import annotations

import math

from patchlight.data.transforms import Size
from patchlight.errors import DataError


def one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is not among the choices."""
    if value not in choices:
        raise DataError(f"data.{name}={value} should be one of {', '.join(map(str, choices))}")


def at_least(name: str, value: int, minimum: int) -> int:
    """An integer that is not below the minimum."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise DataError(f"data.{name}={value} should be an integer of at least {minimum}")
    return value


def not_negative(name: str, value: float) -> float:
    """A number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise DataError(f"data.{name}={value} should be auto, or a number of GiB of at least 0")
    return float(value)


def positive(name: str, value: int) -> int:
    """An integer of at least 1."""
    return at_least(name, value, 1)


def as_size(name: str, value: int | list[int]) -> Size:
    """Height and width of a number of pixels, or of two."""
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise DataError(f"data.{name}={value} should be a positive number of pixels, or [height, width]")
    return sides[0], sides[1]


def check_fit(size: Size, multiple: int) -> None:
    """Refuse sides that the generator cannot take."""
    if size[0] % multiple or size[1] % multiple:
        raise DataError(
            f"data.image_size={size[0]}x{size[1]} does not suit the generator, which needs multiples of {multiple}: "
            f"change it, or use a generator of another depth (model/generator)"
        )
