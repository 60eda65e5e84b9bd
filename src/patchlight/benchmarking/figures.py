"""Medians, ratios and exponents of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Comparison:
    """Two ways of doing the same, measured in turns: seconds for each of `per` things, one pair per round.

    `peaks` and `starts` are the most memory that either took, and what it had before its first step, in bytes.
    """

    name: str
    unit: str = "s"
    plain: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    plain_peak: int | None = None
    ours_peak: int | None = None
    against: str = "plain"
    notes: dict[str, Any] = field(default_factory=dict)

    def ratios(self) -> list[float]:
        """How many times faster ours was, by round, in order of size."""
        return sorted(plain / ours for plain, ours in zip(self.plain, self.ours, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios())

    @property
    def memory_ratio(self) -> float | None:
        """Our peak as a part of the plain one."""
        if self.plain_peak is None or self.ours_peak is None:
            return None
        return self.ours_peak / self.plain_peak

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types."""
        ratios = self.ratios()
        return {
            "name": self.name,
            "unit": self.unit,
            "against": self.against,
            "plain": {"values": self.plain, "median": statistics.median(self.plain), "peak_bytes": self.plain_peak},
            "ours": {"values": self.ours, "median": statistics.median(self.ours), "peak_bytes": self.ours_peak},
            "times_faster": {"median": self.ratio, "lowest": ratios[0], "highest": ratios[-1]},
            "memory_ratio": self.memory_ratio,
            **self.notes,
        }


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The k of the least-squares fit of values = c sizes^k, in the logarithms of both.

    Raises:
        ValueError: fewer than two different sizes.
    """
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    if len(set(x)) < 2:
        raise ValueError("an exponent needs at least two different sizes")
    return statistics.linear_regression(x, y).slope
