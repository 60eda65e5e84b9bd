"""`patchlight-report`: one page, tables and plots of what some runs had different and how good they were."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Literal

from patchlight.cli.command import CommandConfig, run_command
from patchlight.errors import ConfigError

RUNS = "runs=DIR, the folder of a sweep or of several runs"


class ReportConfig(CommandConfig):
    """The keys of configs/report.yaml."""

    examples = {"runs": RUNS}

    runs: str | list[str]
    output: str | None
    title: str | None
    weights: Literal["last", "best", "untrained"]
    axis: Literal["batches", "images", "wall_time", "processor_time"] | None
    ignore: list[str]

    def check(self) -> None:
        if not self.runs:
            raise ConfigError(f"runs is empty: give {RUNS}")


def report(config: ReportConfig) -> None:
    """Write the report, and print its table and where it is.

    Raises:
        DataError: there are no finished runs, or the report cannot be written.
    """
    # Here, so that --help does not wait for them.
    from rich.console import Console

    from patchlight.reporting import write_report

    given = [config.runs] if isinstance(config.runs, str) else config.runs
    folders = [Path(folder).expanduser() for folder in given]
    output = Path(config.output).expanduser() if config.output else folders[0] / "report"
    written = write_report(
        folders,
        output,
        title=config.title,
        weights=config.weights,
        axis=config.axis,
        ignore=config.ignore,
        command=shlex.join(["patchlight-report", *sys.argv[1:]]),
    )
    console = Console()
    # Long lines are the terminal's to wrap: figures that are cut off are worth nothing.
    width = console.measure(written.table, options=console.options.update(width=10_000)).maximum
    console.width = max(width, console.width)
    console.print(written.table)
    for run in written.runs:
        if not run.finished:
            console.print(f"not in the table: {run.name}: {run.status}. {run.message}", markup=False, soft_wrap=True)
    page, *tables = (path for path in written.paths if path.suffix != ".png")
    plots = sum(path.suffix == ".png" for path in written.paths)
    lines: list[tuple[str, object]] = [("page", page), *(("table", path) for path in tables)]
    lines += [("plots", f"{output / 'plots'} ({plots} PNG files)")] if plots else []
    for title, place in lines:
        console.print(f"{title:>6}  {place}", markup=False, highlight=False, soft_wrap=True)


main = partial(run_command, "report", ReportConfig, report)
