"""Which row is the best of a column, by hand-made means and deviations."""

from __future__ import annotations

import math

import pytest

from patchlight.reporting.verdicts import Standing, decide


def test_a_lead_beyond_the_spread_wins() -> None:
    verdict = decide({0: Standing(0.30, 0.03, 3), 1: Standing(0.20, 0.04, 3), 2: Standing(0.50, 0.1, 3)}, better=-1)
    assert verdict is not None
    assert (verdict.leader, verdict.first, verdict.next_behind) == (1, [1], 0)
    assert verdict.gap == pytest.approx(0.1)
    assert verdict.spread == pytest.approx(0.05)  # the root of 0.03² + 0.04²


@pytest.mark.parametrize(("other", "first"), [(0.2499, [0, 1]), (0.2501, [0])])
def test_the_spread_is_that_of_the_difference(other: float, first: list[int]) -> None:
    verdict = decide({0: Standing(0.20, 0.04, 3), 1: Standing(other, 0.03, 3)}, better=-1)
    assert verdict is not None
    assert verdict.first == first


def test_more_can_be_better() -> None:
    verdict = decide({0: Standing(20.0, 0.1, 2), 1: Standing(22.0, 0.1, 2)}, better=1)
    assert verdict is not None
    assert verdict.first == [1]


def test_a_row_of_one_seed_never_wins() -> None:
    verdict = decide({0: Standing(0.1, math.nan, 1), 1: Standing(0.9, 0.01, 3)}, better=-1)
    assert verdict is not None
    assert (verdict.leader, verdict.first) == (0, ())


def test_a_rival_of_one_seed_has_the_largest_deviation() -> None:
    rows = {0: Standing(0.20, 0.01, 3), 1: Standing(0.90, 0.1, 3), 2: Standing(0.28, math.nan, 1)}
    verdict = decide(rows, better=-1)
    assert verdict is not None
    assert (verdict.first, verdict.next_behind) == ([0, 2], 1)


def test_equal_deterministic_rows_are_a_tie_and_others_are_not() -> None:
    same, apart = (decide({0: Standing(1.0, 0.0, 2), 1: Standing(x, 0.0, 2)}, better=1) for x in (1.0, 0.999))
    assert same is not None
    assert apart is not None
    assert (same.first, apart.first) == ([0, 1], [0])


def test_what_is_not_compared() -> None:
    rows = {0: Standing(1.0, 0.1, 2), 1: Standing(2.0, 0.1, 2)}
    assert decide(rows, better=0) is None
    assert decide({0: rows[0]}, better=1) is None
    assert decide({0: Standing(math.nan, math.nan, 2), 1: Standing(math.inf, math.nan, 2)}, better=1) is None
