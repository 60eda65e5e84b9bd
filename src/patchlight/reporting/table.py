"""Runs that differ by their seed only as one row: mean, sample standard deviation and number of each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from patchlight.reporting.collect import Run
from patchlight.reporting.differences import RECEPTIVE_FIELD, Settings, natural
from patchlight.reporting.protocols import Protocol, Protocols
from patchlight.reporting.verdicts import Standing, Verdict, decide

LOWER_IS_BETTER = ("l1", "lpips", "fid", "kid")
HIGHER_IS_BETTER = ("psnr", "ssim", "ms_ssim")
WORDS = {"higher": 1, "lower": -1}
"""What the description of a metric of the configuration says."""

NOTHING = "-"
"""The text of an empty cell."""

Mark = Literal["", "best", "tied"]

DIGITS = 4
"""Significant digits of a column's largest mean."""


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed only."""

    number: int
    label: str
    values: Mapping[str, str]
    runs: Sequence[Run]

    @property
    def seeds(self) -> str:
        return ", ".join(str(run.seed) for run in self.runs)

    @property
    def repeated_seeds(self) -> list[str]:
        """Seeds that occur more than once, so that there are fewer independent runs than it seems."""
        counts = pd.Series([str(run.seed) for run in self.runs]).value_counts()
        return sorted(counts.index[counts > 1])


@dataclass(frozen=True)
class Column:
    """One metric under comparable protocols. `better` is -1 where less is better, 1 where more is, 0 if unknown."""

    name: str
    metric: str
    letters: tuple[str, ...]
    better: int
    decimals: int

    @property
    def arrow(self) -> str:
        return {-1: "↓", 0: "", 1: "↑"}[self.better]

    def text(self, value: float) -> str:
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        return f"{value:.{self.decimals}f}"

    def sorting(self, value: float) -> str:
        """The value to sort by, as JavaScript writes it: NaN is the worst there is."""
        if math.isnan(value):
            value = -math.inf if self.better > 0 else math.inf
        return repr(value).replace("inf", "Infinity")


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation over `n` runs; of one run there is no deviation (NaN).

    `seeds` is how many of the runs are independent.
    """

    mean: float
    std: float
    n: int
    seeds: int
    mark: Mark = ""

    @property
    def has_deviation(self) -> bool:
        return not math.isnan(self.std)

    def text(self, column: Column) -> str:
        """`0.2777 ± 0.0031`, and of one run `0.2777 (n = 1)`."""
        spread = self.spread(column)
        return f"{column.text(self.mean)} {spread if self.has_deviation else f'({spread})'}"

    def spread(self, column: Column) -> str:
        """`± 0.0031`, or `n = 1`."""
        if not self.has_deviation:
            return f"n = {self.n}"
        text = column.text(self.std)
        # A small deviation is not none.
        return f"± {self.std:.1g}" if self.std and not text.strip("0.") else f"± {text}"


@dataclass(frozen=True, eq=False)
class Table:
    """The figures of one kind of weights: by group, and by run."""

    weights: str
    groups: Sequence[Group]
    columns: Sequence[Column]
    cells: Mapping[tuple[int, str], Cell]
    values: pd.DataFrame
    """One row per figure: group, run, seed, column, value."""
    verdicts: Mapping[str, Verdict]
    """By column; none of those where nothing can be compared."""

    def of_run(self, run: Run, column: Column) -> float | None:
        """One run's figure, None where it has none."""
        found = self.values.query("run == @run.name and column == @column.name")["value"]
        return float(found.iloc[0]) if len(found) else None


def make_groups(runs: Sequence[Run], settings: Settings) -> list[Group]:
    """The runs by what differed, in the order of the values; receptive fields count first."""
    combined: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        combined.setdefault(tuple(map(str, settings.table.loc[run.name])), []).append(run)
    keys = list(settings.table.columns)
    first = sorted(range(len(keys)), key=lambda i: keys[i] != RECEPTIVE_FIELD)
    ordered = sorted(combined, key=lambda values: [natural(values[i]) for i in first])
    return [
        Group(
            number=i,
            label=settings.label(combined[values][0].name),
            values=dict(zip(keys, values, strict=True)),
            runs=sorted(combined[values], key=lambda run: natural(str(run.seed))),
        )
        for i, values in enumerate(ordered)
    ]


def make_table(groups: Sequence[Group], weights: str, protocols: Protocols) -> Table:
    """Mean and deviation of every metric; figures of protocols that contradict one another get columns of their own."""
    runs = [run for group in groups for run in group.runs]
    names = dict.fromkeys(metric for run in runs for metric in run.figures[weights])
    rows: list[tuple[int, str, str, str, float]] = []
    columns: list[Column] = []
    for metric in sorted(names, key=lambda name: "/" in name):
        comparable = protocols.columns(metric)
        for combined in comparable:
            letters = tuple(protocol.letter for protocol in combined)
            listed = f"protocol{'s' if len(letters) > 1 else ''} {', '.join(letters)}"
            name = metric if len(comparable) == 1 else f"{metric} ({listed})"
            found = [
                (group.number, run.name, str(run.seed), name, run.figures[weights][metric])
                for group in groups
                for run in group.runs
                if metric in run.figures[weights] and protocols.of(run).letter in letters
            ]
            rows += found
            if found:
                decimals = _decimals([row[-1] for row in found])
                columns.append(Column(name, metric, letters, direction(metric, combined), decimals))
    values = pd.DataFrame(rows, columns=["group", "run", "seed", "column", "value"])
    cells = _cells(values)
    verdicts = _verdicts(cells, columns)
    marked = {key: replace(cell, mark=_mark(key[0], verdicts.get(key[1]))) for key, cell in cells.items()}
    return Table(weights, groups, columns, marked, values, verdicts)


def direction(metric: str, protocols: Sequence[Protocol] = ()) -> int:
    """Whether more (1) or less (-1) is better, by the metric's name or its description; 0 where it is not known."""
    base = metric.rpartition("/")[2]
    for protocol in protocols:
        described = protocol.metrics.get(base)
        if isinstance(described, Mapping) and described.get("better") in WORDS:
            return WORDS[described["better"]]
    if base in HIGHER_IS_BETTER:
        return 1
    return -1 if base in LOWER_IS_BETTER or base.startswith(("frechet_", "kernel_")) else 0


def _cells(values: pd.DataFrame) -> dict[tuple[int, str], Cell]:
    cells = {}
    for key, own in values.groupby(["group", "column"], sort=False):
        group, column = key
        figures = own["value"].astype(float)
        # A run whose figure is not a number must not vanish from the mean.
        mean, std = float(figures.mean(skipna=False)), float(figures.std(ddof=1, skipna=False))
        cells[int(str(group)), str(column)] = Cell(mean, std, len(own), own["seed"].nunique())
    return cells


def _verdicts(cells: Mapping[tuple[int, str], Cell], columns: Sequence[Column]) -> dict[str, Verdict]:
    found = {}
    for column in columns:
        rows = {
            group: Standing(cell.mean, cell.std, cell.seeds)
            for (group, name), cell in cells.items()
            if name == column.name
        }
        verdict = decide(rows, column.better)
        if verdict is not None:
            found[column.name] = verdict
    return found


def _mark(group: int, verdict: Verdict | None) -> Mark:
    if verdict is None or group not in verdict.first:
        return ""
    return "best" if len(verdict.first) == 1 else "tied"


def _decimals(values: Sequence[float]) -> int:
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return max(0, DIGITS - 1 - math.floor(math.log10(largest))) if largest else DIGITS
