"""The report on a set: a short table for people, and a JSON file for programs."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlight.diagnosis.diagnose import Diagnosis, Thresholds, image_size
from patchlight.diagnosis.findings import CHECKS, LEVELS, by_check, counts
from patchlight.errors import printable

VERSION = 1
"""Of the layout of report.json; it changes where a field is renamed, removed or means something else."""

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_table(diagnosis: Diagnosis, console: Console) -> None:
    """One line for each check that has found something, with the worst example."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("level", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("worst example", overflow="fold")
    for name, group in by_check(diagnosis.findings).items():
        check = CHECKS[name]
        number = str(sum(finding.count for finding in group))
        level = Text(check.level, STYLES[check.level])
        table.add_row(level, number, Text(check.title), Text(group[0].message))
    if diagnosis.findings:
        console.print(table)


def describe(diagnosis: Diagnosis) -> str:
    """One line on the kind of the set, its sizes and its label maps."""
    stock = diagnosis.stock
    if not stock.items:
        return "no images"
    numbers = ", ".join(_split(split, own, stock.paired) for split, own in stock.counts().items())
    kind = "pairs side by side" if stock.layout == "side_by_side" else "pairs in two folders"
    if not stock.paired:
        kind = "two domains without pairs"
    labels = ""
    if diagnosis.labels and diagnosis.palette:
        labels = f"; {diagnosis.labels} are label maps of {len(diagnosis.palette.colours)} colours"
    return f"{kind}: {numbers}{labels}"


def _split(name: str, own: dict[str, int], paired: bool) -> str:
    alike = own["A"] == own["B"]
    return f"{own['A']} {name}" if paired and alike else f"{own['A']} + {own['B']} {name}"


def summary(diagnosis: Diagnosis, seconds: float) -> str:
    """The last line: number of files, seconds, and findings by level."""
    found = counts(diagnosis.findings)
    said = ", ".join(f"{found[level]} {level}{'' if found[level] == 1 else 's'}" for level in LEVELS)
    files = len(diagnosis.facts)
    return f"{files} file{'' if files == 1 else 's'} in {seconds:.1f} s: {said}"


def as_json(diagnosis: Diagnosis, thresholds: Thresholds, seconds: float) -> dict[str, Any]:
    """The content of report.json, in plain types; docs/doctor.md describes each field."""
    stock, palette = diagnosis.stock, diagnosis.palette
    return {
        "version": VERSION,
        "data": printable(stock.shown.resolve()),
        "pairing": "paired" if stock.paired else "unpaired",
        "layout": stock.layout,
        "images": stock.counts(),
        "files": len(diagnosis.facts),
        "seconds": round(seconds, 2),
        "counts": counts(diagnosis.findings),
        "sizes": _sizes(diagnosis),
        "modes": dict(Counter(f.mode for f in diagnosis.facts if f.mode).most_common()),
        "labels": None if palette is None else {
            "domain": diagnosis.labels,
            "palette": palette.hex(),
            "lossless": palette.lossless,
            "drifted": len(diagnosis.drifted),
            "median_off": round(statistics.median(diagnosis.drifted.values()), 4) if diagnosis.drifted else 0.0,
        },
        "thresholds": dataclasses.asdict(thresholds),
        "checks": {
            name: {
                "level": CHECKS[name].level,
                "title": CHECKS[name].title,
                "advice": CHECKS[name].advice,
                "count": sum(finding.count for finding in group),
                "findings": [
                    {"files": list(f.files), "message": f.message, "value": round(f.value, 4)} for f in group
                ],
            }
            for name, group in by_check(diagnosis.findings).items()
        },
    }  # fmt: skip


def _sizes(diagnosis: Diagnosis) -> dict[str, int]:
    sizes = Counter("{}x{}".format(*image_size(f)) for f in diagnosis.facts if f.trouble is None)
    return dict(sizes.most_common(20))


def output_files(folder: Path) -> tuple[Path, Path]:
    """Where the report and the contact sheet go."""
    return folder / "report.json", folder / "worst.png"
