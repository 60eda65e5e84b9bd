"""The inputs that generators have beside an image: noise, class ids, masks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchlight.errors import ConfigError
from patchlight.networks import Condition


def image_seed(path: str | Path) -> int:
    """The seed of an image's noise, from the name of its file: the same in every batch, rank, folder and command."""
    return zlib.crc32(Path(path).stem.encode(errors="surrogateescape"))


def draw_noise(condition: Condition, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Standard normal values for images of a size, each from its own seed, whatever the others in the batch are."""
    shape = _shape(condition, size)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def noise_for(images: Tensor, condition: Condition, seeds: Sequence[int] | None) -> Tensor:
    """Noise for a batch, of its type and on its device; without seeds from the device's own random numbers."""
    height, width = images.shape[-2:]
    if seeds is not None:
        return draw_noise(condition, seeds, (height, width)).to(images)
    shape = (len(images), *_shape(condition, (height, width)))
    return torch.randn(shape, dtype=images.dtype, device=images.device)


def condition_values(
    conditions: Mapping[str, Condition], given: Mapping[str, Any], seeds: Sequence[int], size: tuple[int, int]
) -> dict[str, Tensor]:
    """The values of a generator's conditions for a batch, as it takes them; one that is given alone is for all images.

    `seeds` has one number for each image, from which noise is drawn that is not given.

    Raises:
        ConfigError: a value that is missing, unknown, or not of the condition's shape and type.
    """
    for name in given.keys() - conditions.keys():
        known = f"its conditions are {', '.join(conditions)}" if conditions else "it has no condition"
        raise ConfigError(f"condition.{name} is nothing that this generator reads: {known}")
    values = {}
    for name, condition in conditions.items():
        if given.get(name) is not None:
            values[name] = _value(name, condition, given[name], len(seeds), size)
        elif condition.noise:
            values[name] = draw_noise(condition, seeds, size)
        else:
            raise ConfigError(f"condition.{name} is not set, which this generator reads: give it, {condition}")
    return values


def _value(name: str, condition: Condition, given: Any, images: int, size: tuple[int, int]) -> Tensor:
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"condition.{name}={given!r} should be {condition}") from None
    shape = _shape(condition, size)
    whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    if condition.classes is not None:
        fits = whole and bool(((value >= 0) & (value < condition.classes)).all())
        value = value.long()
    else:
        fits = (whole or value.is_floating_point()) and bool(value.isfinite().all())
        value = value.float()
    if not fits or tuple(value.shape) not in (shape, (images, *shape)):
        raise ConfigError(f"condition.{name}={given!r} should be {condition}")
    return value if tuple(value.shape) == (images, *shape) else value.expand(images, *shape)


def _shape(condition: Condition, size: tuple[int, int]) -> tuple[int, ...]:
    return (*condition.shape, *size) if condition.spatial else condition.shape
