"""Which row of a column is the best, where several seeds can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """The figures of one row in a column: mean, sample standard deviation over its runs, and different seeds."""

    mean: float
    std: float
    seeds: int

    @property
    def has_deviation(self) -> bool:
        return self.seeds > 1 and math.isfinite(self.std)


@dataclass(frozen=True)
class Verdict:
    """The rows that lead a column: one is the best, several are tied, none if seeds are missing.

    `leader` has the best mean; `next_behind` is the row of the nearest mean that is not among the first, and `gap` and
    `spread` are its distance from the leader and the deviation of this distance.
    """

    leader: int
    first: Sequence[int]
    next_behind: int | None = None
    gap: float = math.nan
    spread: float = math.nan


def decide(rows: Mapping[int, Standing], better: int) -> Verdict | None:
    """The verdict on a column, whose rows are by number; `better` is 1 or -1. None where there is nothing to compare.

    A row is tied with the leader if their means differ by no more than one run of each does from one of the other: by
    the root of the sum of both variances. The deviation of a row of one seed is not known, so that it cannot be the
    best; as a rival, it is given the largest deviation in the column.
    """
    finite = {number: row for number, row in rows.items() if math.isfinite(row.mean)}
    if not better or len(rows) < 2 or not finite:
        return None
    leader = max(finite, key=lambda number: better * finite[number].mean)
    if not finite[leader].has_deviation:
        return Verdict(leader, ())
    largest = max(row.std for row in finite.values() if row.has_deviation)

    def distance(number: int) -> tuple[float, float]:
        row = finite[number]
        gap = abs(row.mean - finite[leader].mean)
        return gap, math.hypot(finite[leader].std, row.std if row.has_deviation else largest)

    distances = {number: distance(number) for number in finite if number != leader}
    tied = [number for number, (gap, spread) in distances.items() if gap <= spread]
    behind = min((n for n in distances if n not in tied), key=lambda n: distances[n][0], default=None)
    gap, spread = distances[behind] if behind is not None else (math.nan, math.nan)
    return Verdict(leader, sorted([leader, *tied]), behind, gap, spread)
