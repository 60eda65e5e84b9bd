"""The limits of a domain's values, where they are to be percentiles of its training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from patchlight.data.bands import Bands, Limits
from patchlight.data.content import Content
from patchlight.data.sources import ImageRef, PairSource
from patchlight.errors import DataError
from patchlight.system.image_file import one_message

IMAGES = 256
"""So many images are looked at, spread over all of them."""

PIXELS = 2**14
"""So many pixels of each, spread over all of them."""

DIGITS = 6
"""Limits are rounded to so many digits, so that a configuration can be read."""


def measure_limits(images: Sequence[ImageRef], content: Bands, percentiles: tuple[float, float], key: str) -> Limits:
    """The percentiles of each band over some training images, the same ones each time.

    Raises:
        DataError: an image cannot be read, or a band has one value only, by the `key` of the setting.
    """
    chosen = [
        images[i] for i in np.unique(np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(int))
    ]
    found = np.concatenate([_some_values(image, content) for image in chosen])
    limits = []
    for band, (low, high) in enumerate(np.percentile(found, percentiles, axis=0).T, start=1):
        rounded = float(f"{low:.{DIGITS}g}"), float(f"{high:.{DIGITS}g}")
        if not rounded[0] < rounded[1]:
            raise DataError(
                f"{key}: band {band} has the value {low:g} between these percentiles: give limits as numbers"
            )
        limits.append(rounded)
    return tuple(limits)


def _some_values(image: ImageRef, content: Bands) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with one_message(image.key):
        source, index = image.record
        picture = source.read(index)[image.side] if isinstance(source, PairSource) else source.read(index)
        values = content.values(picture).reshape(-1, content.channels)
    step = -(-len(values) // PIXELS)
    return values[::step].astype(np.float64)


def measured_contents(
    domains: Mapping[str, tuple[Content, Sequence[ImageRef]]], ranges: Mapping[str, Any]
) -> tuple[dict[str, Content], dict[str, list[list[float]]]]:
    """The contents of domains a and b, with percentiles of their training images as limits where that is asked for.

    `ranges` are the settings `range_a` and `range_b` by domain. Also returns what was measured, by the key.

    Raises:
        DataError: there are no training images, or as `measure_limits`.
    """
    contents, measured = {}, {}
    for domain, (content, images) in domains.items():
        contents[domain] = content
        if isinstance(content, Bands) and content.limits is None:
            given, key = ranges[domain], f"range_{domain}"
            if not images:
                raise DataError(f"data.{key}={given} needs training images: give limits as numbers")
            low, high = given["percentiles"]
            limits = measure_limits(images, content, (low, high), f"data.{key}={given}")
            contents[domain] = replace(content, limits=limits)
            measured[key] = [list(pair) for pair in limits]
    return contents, measured
