"""The end of a sweep: how each job ended, its figures, their order, and the command that compares them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import get_console
from rich.table import Column, Table

from patchlight.system.console import say
from patchlight.system.job_record import JobRecord

LONGEST_LABEL = 30
"""Columns that the jobs' names have at least, if they need them, before figures take the others."""


@dataclass(frozen=True)
class Job:
    """How a job ended, and what it measured."""

    label: str
    status: str
    message: str | None
    objective: tuple[str, float | None] | None
    """Its name and its value, which may not be a number."""
    metrics: Mapping[str, Any]
    """Its `metrics.json`."""

    @classmethod
    def of(cls, record: JobRecord) -> Job:
        """The job of a record with an outcome; the figures are those in its folder."""
        outcome = record.outcome
        assert outcome is not None
        found = outcome["objective"]
        objective = (found["name"], found["value"]) if found is not None else None
        metrics: dict[str, Any] = {}
        try:
            if outcome["status"] == "finished":
                metrics = json.loads((Path(record.folder) / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            pass  # the run had nothing to measure
        return cls(record.label, outcome["status"], outcome["message"], objective, metrics)


@dataclass(frozen=True)
class Order:
    """The figure by which jobs are ranked, with a value for each job that has it, by the job's label."""

    name: str
    higher_is_better: bool
    values: Mapping[str, float]

    def rank(self, label: str) -> int | None:
        """1 for the best; jobs of equal values share a rank."""
        if label not in self.values:
            return None
        own = self.values[label]
        return 1 + sum(value > own if self.higher_is_better else value < own for value in self.values.values())


def order_of(jobs: Sequence[Job], weights: str) -> Order | None:
    """By the objective if there is one, otherwise by the test's figure of the name that chooses the best checkpoint."""
    protocol: Mapping[str, Any] = next((job.metrics["protocol"] for job in jobs if "protocol" in job.metrics), {})
    objectives = {job.label: job.objective for job in jobs if job.objective is not None}
    if objectives:
        name = next(iter(objectives.values()))[0]
        values = {label: value for label, (_, value) in objectives.items() if value is not None}
        return Order(name, _higher_is_better(name.partition("/")[2], protocol), values)
    mode, _, monitor = (protocol.get("best_is") or "").partition(" ")
    figure = monitor.removeprefix("val/")
    found = {job.label: job.metrics[weights][figure] for job in jobs if figure in job.metrics.get(weights, {})}
    return Order(f"test/{figure}", mode == "max", found) if found else None


def print_summary(folder: Path, jobs: Sequence[Job]) -> None:
    """A table of the jobs, the best first, what is to be said of those that failed, and what to do next."""
    measured = [job for job in jobs if job.metrics]
    weights = "best" if measured and all("best" in job.metrics for job in measured) else "last"
    order = order_of(jobs, weights)
    ranks = {job.label: order.rank(job.label) if order is not None else None for job in jobs}
    get_console().print(_table(sorted(jobs, key=lambda job: ranks[job.label] or len(jobs) + 1), ranks, weights))
    for job in jobs:
        if job.message is not None:
            say(f"{job.status}: {job.label}: {job.message}")
    best = folder / "optimization_results.yaml"
    if best.is_file():
        found: Any = OmegaConf.load(best)
        values = ", ".join(f"{key}={value}" for key, value in found.get("best_params", {}).items())
        say(f"best of all: {found.get('best_value')} with {values}")
    if order is not None and len(order.values) > 1:
        better = "higher" if order.higher_is_better else "lower"
        of = f" of the {weights} weights" if order.name.startswith("test/") else ""
        say(
            f"in the order of {order.name}{of}, {better} is better; a difference that is no larger than that between "
            f"seeds says nothing"
        )
    if measured:
        say(
            "to compare them, with their pictures:",
            f"  {shlex.join(['patchlight-report', f'runs={folder}'])}",
            wrapped=True,
        )
    numbers = Counter(job.status for job in jobs)
    ended = ", ".join(f"{numbers[status]} {status}" for status in ("finished", "failed", "left out"))
    say(f"{len(jobs)} jobs: {ended}; in {folder}")


def _table(jobs: Sequence[Job], ranks: Mapping[str, int | None], weights: str) -> Table:
    """Jobs in rows; in columns rank, status, objective, and as many figures of the test as there is room for."""
    objectives = dict.fromkeys(job.objective[0] for job in jobs if job.objective is not None)
    figures = dict.fromkeys(name for job in jobs for name in job.metrics.get(weights, {}) if "/" not in name)
    label = min(LONGEST_LABEL, max((len(job.label) for job in jobs), default=0))
    left = get_console().width - (label + 3) - sum(len(title) + 3 for title in ("#", "finished", *objectives)) - 1
    shown = []
    for name in figures:
        left -= max(len(f"test/{name}"), 8) + 3
        if left >= 0:
            shown.append(name)
    columns = [Column(title, justify="right", no_wrap=True) for title in (*objectives, *(f"test/{n}" for n in shown))]
    table = Table(Column("#", no_wrap=True), Column("job", overflow="fold"), Column("", no_wrap=True), *columns)
    for job in jobs:
        values = [
            job.objective[1] if job.objective is not None and job.objective[0] == name else None for name in objectives
        ]
        values += [job.metrics.get(weights, {}).get(name) for name in shown]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(str(ranks[job.label] or ""), job.label, job.status, *cells)
    return table


def _higher_is_better(figure: str, protocol: Mapping[str, Any]) -> bool:
    from patchlight.metrics.paired import higher_is_better  # here, as it needs PyTorch

    said = protocol.get("metrics", {}).get(figure.rpartition("/")[2], {}).get("better")
    return said == "higher" if said is not None else higher_is_better(figure)
