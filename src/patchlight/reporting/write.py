"""Making the report: read the runs, compare them, write the page, the tables and the plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from patchlight.errors import DataError
from patchlight.reporting.collect import WEIGHTS, Run
from patchlight.reporting.compare import compare
from patchlight.reporting.curves import AxisName, axes_of, curve_names
from patchlight.reporting.differences import Settings, find_differences
from patchlight.reporting.page import Content, render
from patchlight.reporting.pictures import BUDGET, contact_sheets, sample_grids
from patchlight.reporting.plots import curve_plots, series_labels
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import NOTHING, Mark, Table, make_table
from patchlight.reporting.words import page_title


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
    """The table of groups in Markdown; the best of each metric is bold, and so are those that are tied."""
    keys = settings.columns
    header = _header(table, settings, keys)
    lines = [header, ["---"] * len(header)]
    lines += [[f"**{text}**" if mark else text for text, mark in row] for row in _rows(table, keys)]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines) + "\n"


def terminal(table: Table, settings: Settings) -> RichTable:
    """The table of groups for the terminal, with the choices that were independent only."""
    keys = settings.factors
    displayed = RichTable(box=box.MARKDOWN)
    for text in _header(table, settings, keys):
        displayed.add_column(Text(text), no_wrap=True)
    for row in _rows(table, keys):
        displayed.add_row(*(Text(text, style="bold" if mark else "") for text, mark in row))
    return displayed


def _header(table: Table, settings: Settings, keys: Sequence[str]) -> list[str]:
    return [*(settings.names[key] for key in keys), "seeds", *(f"{c.name} {c.arrow}".strip() for c in table.columns)]


def _rows(table: Table, keys: Sequence[str]) -> Iterator[list[tuple[str, Mark]]]:
    """The texts of each group's row, with the mark of each."""
    for group in table.groups:
        row: list[tuple[str, Mark]] = [(group.values[key] or NOTHING, "") for key in keys]
        row.append((group.seeds, ""))
        for column in table.columns:
            cell = table.cells.get((group.number, column.name))
            tie = " tie" if cell and cell.mark == "tied" else ""
            row.append((f"{cell.text(column)}{tie}", cell.mark) if cell else (NOTHING, ""))
        yield row


def _number(value: float) -> str:
    return "NaN" if pd.isna(value) else repr(float(value))


@dataclass(frozen=True)
class Report:
    """The files written: the page first, then the tables, then the plots; and the table for the terminal."""

    paths: Sequence[Path]
    table: RichTable
    runs: Sequence[Run]


def write_report(
    folders: Sequence[Path],
    output: Path,
    *,
    title: str | None = None,
    weights: str = "last",
    axis: AxisName | None = None,
    ignore: Sequence[str] = (),
    command: str = "patchlight-report",
) -> Report:
    """Compare the runs below some folders and write what is found into `output`.

    `title` None names task, model and data. `weights` are those of the main table: `last`, `best` or `untrained`.
    `axis` is what curves are drawn over first; None chooses the one on which the runs are comparable. Configuration
    keys in `ignore` do not tell runs apart.

    Raises:
        DataError: there are no finished runs, none has this axis, or the report cannot be written.
    """
    comparison = compare(folders, weights=weights, ignore=ignore)
    runs, settings, groups = comparison.runs, comparison.settings, comparison.groups
    finished = [run for run in runs if run.finished]
    protocols = {name: Protocols(finished, name) for name in WEIGHTS}
    others = (name for name in WEIGHTS if name != weights)
    tables = [comparison.table, *(make_table(groups, name, protocols[name]) for name in others)]
    axes = axes_of(finished, axis)
    # One run per group, the one of the first seed, and where there are more, all runs.
    first, every = [group.runs[0] for group in groups], [run for group in groups for run in group.runs]
    content = Content(
        title=title or page_title(finished),
        place=" + ".join(folder.resolve().name for folder in folders),
        command=command,
        markdown=markdown(tables[0], settings),
        runs=runs,
        groups=groups,
        settings=settings,
        all_settings=find_differences(runs, ignore),
        tables=[tables[0], *(table for table in tables[1:] if table.columns)],
        protocols=protocols[weights],
        key_plots=comparison.plots(),
        series=series_labels(tables[0], settings),
        axes=axes,
        curves={
            section: [curve_plots(figure, groups, axes) for figure in names]
            for section, names in curve_names(finished).items()
        },
        grids=sample_grids(first, BUDGET // 2),
        more_grids=sample_grids(every, BUDGET // 2) if len(every) > len(first) else [],
        sheets=contact_sheets(first),
    )
    page = output / "index.html"
    html = render(content)
    try:
        (output / "plots").mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
        write_table_csv(output / "table.csv", tables[0])
        write_runs_csv(output / "runs.csv", runs, content.all_settings, protocols)
        (output / "table.md").write_text(content.markdown, encoding="utf-8")
        curves = [plots[axes[0].name] for section in content.curves.values() for plots in section]
        drawn = [*content.key_plots, *curves]
        saved = [plot.save(output / "plots") for plot in drawn]
    except OSError as error:
        place, reason = error.filename or output, error.strerror or error
        raise DataError(f"{place} cannot be written ({reason}): choose another folder with output=DIR") from None
    written = [page, output / "table.csv", output / "runs.csv", output / "table.md", *saved]
    return Report(written, terminal(tables[0], settings), runs)
