"""Images whose values are read as they are, of 16 bits, floating point or any bands: their facts, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlight.data.bands import Bands, Depth, Limits, limits_of
from patchlight.data.decoding import read_values
from patchlight.data.images import Array, picture_levels, read_image, to_array
from patchlight.diagnosis.findings import Finding
from patchlight.diagnosis.inventory import Item, parts
from patchlight.errors import DataError


@dataclass(frozen=True)
class Expected:
    """What the files of a domain should hold: `range` as `data.range_a` gives it, limits of all bands or of each."""

    depth: Depth
    range: Sequence[Any] | None = None

    def limits(self, domain: str, bands: int) -> Limits:
        """The limits of each band.

        Raises:
            DataError: the range is none, or of another number of bands.
        """
        found = limits_of(domain.lower(), bands, self.depth, self.range)
        assert found is not None  # no percentiles are asked for
        return found


@dataclass(frozen=True)
class ValueFacts:
    """The facts of an image of one domain. `wrong` is what keeps a training from reading it, if something does.

    `low` and `high` are of the finite values, `outside` is the share of values beyond the limits, and `constant` are
    the bands that have one value only, counted from 1.
    """

    domain: str
    bands: int
    type: str
    low: float
    high: float
    not_finite: int
    outside: float
    constant: tuple[int, ...]
    limits: Limits
    wrong: str = ""


def value_facts(domain: str, array: NDArray[Any], expected: Expected) -> tuple[ValueFacts, Array]:
    """The facts of H W C, and how it looks: its first three bands or its first, scaled by their limits, as RGB.

    Raises:
        DataError: the range is of another number of bands.
    """
    bands = array.shape[2]
    limits = expected.limits(domain, bands)
    wrong = ""
    try:
        Bands(expected.depth, bands, limits).check_type(array)
    except ValueError as error:
        wrong = str(error)
    finite = np.isfinite(array)
    values = array.astype(np.float64)
    low, high = np.array(limits).T
    outside = float((finite & ((values < low) | (values > high))).mean())
    constant = tuple(i + 1 for i in range(bands) if np.ptp(values[:, :, i]) == 0) if bands > 1 else ()
    some = values[finite]
    extremes = (float(some.min()), float(some.max())) if some.size else (0.0, 0.0)
    facts = ValueFacts(
        domain, bands, str(array.dtype), *extremes, int(array.size - finite.sum()), outside, constant, limits, wrong
    )
    drawn = slice(0, 3 if bands >= 3 else 1)
    unit = ((values - low) / (high - low))[:, :, drawn].clip(0, 1)
    colours = np.nan_to_num(unit * 255).round().astype(np.uint8)
    return facts, np.repeat(colours, 3 // colours.shape[2], axis=2)


def read_parts(item: Item, expected: Mapping[str, Expected]) -> list[tuple[str, Array, ValueFacts | None]]:
    """The images of a file by their domains, as 8-bit H W 3, with the facts of those that are read by their values.

    Raises:
        DataError: the file cannot be read.
    """
    if not any(domain in item.domain for domain in expected):
        return [(domain, part, None) for domain, part in parts(item, to_array(read_image(item.path)))]
    found: list[tuple[str, Array, ValueFacts | None]] = []
    for domain, part in parts(item, read_values(item.path)):
        if domain in expected:
            facts, looks = value_facts(domain, part, expected[domain])
            found.append((domain, looks, facts))
        else:
            found.append((domain, picture_levels(part, 3), None))
    return found


def whole_picture(item: Item, expected: Mapping[str, Expected]) -> Image.Image:
    """A file as a picture for people.

    Raises:
        DataError: it cannot be read, or is no two images.
    """
    if not any(domain in item.domain for domain in expected):
        return read_image(item.path)
    found = [part for _, part, _ in read_parts(item, expected)]
    if not found:
        raise DataError(f"{item.path} is not two images")
    return Image.fromarray(np.concatenate(found, axis=1))


def value_findings(
    values: Sequence[tuple[Item, ValueFacts]], clipped_share: float
) -> Iterator[Finding]:  # fmt: skip
    """What is wrong with images that are read by their values."""
    kinds = {domain: Counter(v.bands for _, v in values if v.domain == domain) for domain in "AB"}
    for item, v in values:
        name, show = item.name, ((item.path, v.domain),)
        side = f" ({v.domain})" if item.domain == "AB" else ""
        if v.wrong:
            yield Finding("value_type", f"{name}{side}: {v.wrong}", (name,), pictures=show)
        if v.not_finite:
            what = f"{name}{side} has {v.not_finite} values that are NaN or infinite"
            yield Finding("not_finite", what, (name,), v.not_finite, pictures=show)
        usual, most = kinds[v.domain].most_common(1)[0]
        if v.bands != usual:
            total = kinds[v.domain].total()
            what = f"{name}{side} has {v.bands} bands, while {most} of {total} in domain {v.domain} have {usual}"
            yield Finding("bands", what, (name,), pictures=show)
        if v.outside > clipped_share:
            spans = " or ".join(dict.fromkeys(f"{low:g} to {high:g}" for low, high in v.limits))
            what = f"{name}{side} has {v.outside:.1%} of its values, {v.low:g} to {v.high:g}, outside {spans}"
            yield Finding("clipped", what, (name,), v.outside, pictures=show)
        if v.constant:
            numbers = f"band{'s' * (len(v.constant) > 1)} {', '.join(map(str, v.constant))} of {v.bands}"
            yield Finding("constant_band", f"{name}{side} has one value in {numbers}", (name,), pictures=show)
