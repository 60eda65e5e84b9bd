"""The tables as CSV for scripts, as Markdown for notes, and on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from patchlight.reporting.collect import WEIGHTS, Run
from patchlight.reporting.differences import Settings
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import Table

NOTHING = "-"


def write_table_csv(path: Path, table: Table) -> None:
    """One row per group: the full keys that differed, runs, seeds, and of each metric mean, deviation and number.

    A deviation over one run is empty. A figure that is not a number is written as NaN, a missing one is empty.
    """
    rows = []
    for group in table.groups:
        row: dict[str, object] = {**group.values, "runs": len(group.runs), "seeds": group.seeds.replace(",", "")}
        for column in table.columns:
            cell = table.cells.get((group.number, column.name))
            row[f"{column.name}_mean"] = _number(cell.mean) if cell else ""
            row[f"{column.name}_std"] = _number(cell.std) if cell and cell.n > 1 else ""
            row[f"{column.name}_n"] = cell.n if cell else 0
        rows.append(row)
    pd.DataFrame(rows).to_csv(path, index=False)


def write_runs_csv(path: Path, runs: Sequence[Run], settings: Settings, protocols: Mapping[str, Protocols]) -> None:
    """One row per run, also of those without figures: status, seed, what differed, and every figure of all weights.

    `protocols` are by weights; a figure's protocol is in the column `<weights>/protocol`.
    """
    rows = []
    for run in runs:
        row: dict[str, object] = {"run": run.name, "status": run.status, "message": run.message, "seed": run.seed}
        row |= dict(settings.table.loc[run.name])
        for weights in WEIGHTS:
            figures = run.figures.get(weights) or {}
            row |= {f"{weights}/{metric}": _number(value) for metric, value in figures.items()}
            if figures:
                row[f"{weights}/protocol"] = protocols[weights].of(run).letter
        rows.append(row)
    pd.DataFrame(rows).to_csv(path, index=False)


def markdown(table: Table, settings: Settings) -> str:
    """The table of groups in Markdown; the best of each metric is bold."""
    keys = list(settings.names)
    header = _header(table, settings, keys)
    lines = [header, ["---"] * len(header)]
    for row in _rows(table, keys):
        lines.append([f"**{text}**" if best else text for text, best in row])
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines) + "\n"


def terminal(table: Table, settings: Settings) -> RichTable:
    """The table of groups for the terminal, with the choices that were independent only."""
    keys = settings.factors
    displayed = RichTable(box=box.MARKDOWN)
    for text in _header(table, settings, keys):
        displayed.add_column(Text(text), no_wrap=True)
    for row in _rows(table, keys):
        displayed.add_row(*(Text(text, style="bold" if best else "") for text, best in row))
    return displayed


def _header(table: Table, settings: Settings, keys: Sequence[str]) -> list[str]:
    return [*(settings.names[key] for key in keys), "seeds", *(f"{c.name} {c.arrow}".strip() for c in table.columns)]


def _rows(table: Table, keys: Sequence[str]) -> Iterator[list[tuple[str, bool]]]:
    """The texts of each group's row, and whether they are the best of their columns."""
    for group in table.groups:
        row = [(group.values[key] or NOTHING, False) for key in keys] + [(group.seeds, False)]
        for column in table.columns:
            cell = table.cells.get((group.number, column.name))
            row.append((cell.text(column), cell.best) if cell else (NOTHING, False))
        yield row


def _number(value: float) -> str:
    return "NaN" if pd.isna(value) else repr(float(value))
