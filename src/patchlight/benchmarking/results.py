"""The results of a benchmark: medians, ratios and exponents, as a JSON file and as tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchlight.system.files import write_json


@dataclass
class Comparison:
    """Two ways of doing the same, measured in turns: seconds, one pair per round, and the most memory in bytes."""

    name: str
    plain: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    plain_peak: int | None = None
    ours_peak: int | None = None
    against: str = "plain"
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, plain: float, ours: float) -> None:
        """Take in the seconds of a round."""
        self.plain.append(plain)
        self.ours.append(ours)

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
            "unit": "s",
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


HEADER = ("", "plain", "Patchlight", "times faster", "memory", "of the matmul peak")
SCALING_HEADER = ("varied", "seconds", "time ~ size^", "memory ~ size^")


@dataclass
class Results:
    """Everything of one run of `patchlight-bench`; what was not asked for is empty."""

    machine: dict[str, Any] = field(default_factory=dict)
    precision: str = "32-true"
    rounds: int = 0
    peaks: dict[str, float] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    scaling: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "machine": self.machine,
            "precision": self.precision,
            "rounds": self.rounds,
            "matmul_flops_per_second": self.peaks,
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "scaling": self.scaling,
        }

    def tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """The header and the rows, as text, of the comparisons and of what was varied."""
        scaling: list[tuple[str, ...]] = []
        for what, row in self.scaling.items():
            times = ", ".join(f"{v:g}: {_seconds(s)}" for v, s in zip(row["values"], row["seconds"], strict=True))
            scaling.append((what, times, f"{row['time_exponent']:.2f}", f"{row['memory_exponent']:.2f}"))
        return [(HEADER, [self._row(comparison) for comparison in self.comparisons]), (SCALING_HEADER, scaling)]

    def _row(self, c: Comparison) -> tuple[str, ...]:
        ratios = c.ratios()
        times = f"{c.ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        memory = ""
        if "flops" in c.notes and c.ours_peak is not None and c.plain_peak is not None:
            memory = f"{c.ours_peak / 2**30:.1f} of {c.plain_peak / 2**30:.1f} GiB"
        share = ""
        peak = self.peaks.get("bfloat16" if self.precision.startswith("bf16") else "float32")
        if "flops" in c.notes and peak:
            share = f"{c.notes['flops'] / statistics.median(c.ours) / peak:.0%}"
        name = c.name if c.against == "plain" else f"{c.name}, against: {c.against}"
        if "overhead" in c.notes:
            times = f"{c.notes['overhead']:+.1%} time"
        if "of_the_time" in c.notes:
            times = f"{1 / c.ratio:.2f} ({1 / ratios[-1]:.2f} to {1 / ratios[0]:.2f}) of the time"
        return name, _seconds(statistics.median(c.plain)), _seconds(statistics.median(c.ours)), times, memory, share


def write_bench(results: Results, folder: Path) -> list[Path]:
    """Write `bench.json` and `bench.md`; returns both."""
    folder.mkdir(parents=True, exist_ok=True)
    data, table = folder / "bench.json", folder / "bench.md"
    write_json(data, results.as_dict())
    parts = [
        f"{results.machine.get('processor', '')}, {results.machine.get('cores', '?')} cores, "
        f"{', '.join(results.machine.get('gpus', [])) or 'no GPU'}; precision of ours {results.precision}; "
        f"medians of {results.rounds} rounds in turns, with the lowest and highest ratio."
    ]
    for header, rows in results.tables():
        lines = [header, ["---"] * len(header), *rows]
        parts += ["\n".join(f"| {' | '.join(line)} |" for line in lines)] if rows else []
    table.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [data, table]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
