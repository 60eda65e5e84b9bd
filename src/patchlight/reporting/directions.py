"""Figures of methods that translate one way under the names that methods of both ways have for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from patchlight.reporting.collect import Run

RESULTS = {"AtoB": "fake_B", "BtoA": "fake_A"}
"""What a translation makes, by its direction."""


def named_by_direction(runs: Sequence[Run]) -> list[Run]:
    """The runs, in which CUT's `fid` from A to B is called `fake_B/fid` where a CycleGAN has one of that name.

    A method of both directions has figures of each, and their mean under the plain name, which is not that of one
    direction alone. Runs that are all of one direction keep their names.
    """
    both = {
        metric.rpartition("/")[2]
        for run in runs
        for figures in run.figures.values()
        for metric in figures
        if metric.rpartition("/")[0] in RESULTS.values()
    }
    return [replace(run, figures=_renamed(run, both)) for run in runs]


def _renamed(run: Run, both: set[str]) -> Mapping[str, Mapping[str, float]]:
    result = RESULTS.get(str(run.protocol.get("direction")))
    return {
        weights: {
            f"{result}/{metric}"
            if result and metric in both and not _has_directions(figures, metric)
            else metric: value
            for metric, value in figures.items()
        }
        for weights, figures in run.figures.items()
    }


def _has_directions(figures: Mapping[str, float], metric: str) -> bool:
    return any(f"{result}/{metric}" in figures for result in RESULTS.values())
