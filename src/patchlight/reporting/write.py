"""Making the report: read the runs, compare them, write the page, the tables and the plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table as RichTable

from patchlight.errors import DataError
from patchlight.reporting.collect import WEIGHTS, Run, collect
from patchlight.reporting.curves import curve_names, progress_name
from patchlight.reporting.differences import find_differences
from patchlight.reporting.files import markdown, terminal, write_runs_csv, write_table_csv
from patchlight.reporting.page import Content, render
from patchlight.reporting.pictures import BUDGET, Grid, contact_sheets, sample_grids
from patchlight.reporting.plots import Plot, curve_plot, key_plots, series_labels
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import Group, make_groups, make_table


@dataclass(frozen=True)
class Report:
    """The files written: the page first, then the tables, then the plots; and the table for the terminal."""

    paths: Sequence[Path]
    table: RichTable
    runs: Sequence[Run]
    groups: Sequence[Group]


def write_report(
    folders: Sequence[Path],
    output: Path,
    *,
    title: str,
    weights: str = "last",
    ignore: Sequence[str] = (),
    command: str = "patchlight-report",
) -> Report:
    """Compare the runs below some folders and write what is found into `output`.

    `weights` are those of the main table: `last`, `best` or `untrained`. Configuration keys in `ignore` do not tell
    runs apart.

    Raises:
        DataError: there are no finished runs, or the report cannot be written.
    """
    runs = collect(folders)
    finished = [run for run in runs if run.finished]
    settings = find_differences(finished, ignore)
    groups = make_groups(finished, settings)
    protocols = {name: Protocols(finished, name) for name in WEIGHTS}
    displayed = [weights, *(name for name in WEIGHTS if name != weights)]
    tables = [make_table(groups, name, protocols[name]) for name in displayed]
    grids, more_grids = _grids(groups)
    content = Content(
        title=title,
        command=command,
        runs=runs,
        groups=groups,
        settings=settings,
        all_settings=find_differences(runs, ignore),
        tables=[tables[0], *(table for table in tables[1:] if table.columns)],
        protocols=protocols[weights],
        key_plots=key_plots(tables[0], settings),
        series=series_labels(tables[0], settings),
        curves=_curves(finished, groups),
        grids=grids,
        more_grids=more_grids,
        sheets=contact_sheets([group.runs[0] for group in groups]),
    )
    page = output / "index.html"
    html = render(content)
    try:
        (output / "plots").mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
        write_table_csv(output / "table.csv", tables[0])
        write_runs_csv(output / "runs.csv", runs, content.all_settings, protocols)
        (output / "table.md").write_text(markdown(tables[0], settings), encoding="utf-8")
        drawn = [*content.key_plots, *(plot for plots in content.curves.values() for plot in plots)]
        saved = [plot.save(output / "plots") for plot in drawn]
    except OSError as error:
        place, reason = error.filename or output, error.strerror or error
        raise DataError(f"{place} cannot be written ({reason}): choose another folder with output=DIR") from None
    texts = [output / name for name in ("table.csv", "runs.csv", "table.md")]
    return Report([page, *texts, *saved], terminal(tables[0], settings), runs, groups)


def _curves(runs: Sequence[Run], groups: Sequence[Group]) -> dict[str, Sequence[Plot]]:
    progress = progress_name(runs)
    return {
        section: [curve_plot(name, groups, progress) for name in names] for section, names in curve_names(runs).items()
    }


def _grids(groups: Sequence[Group]) -> tuple[list[Grid], list[Grid]]:
    """Grids of one run per group, the one of the first seed, and where there are more, of all runs."""
    every = [run for group in groups for run in group.runs]
    first = [group.runs[0] for group in groups]
    more = sample_grids(every, BUDGET // 2) if len(every) > len(first) else []
    return sample_grids(first, BUDGET // 2), more
