"""Several runs side by side, as data frames, curves and plots: what the report is written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from patchlight.reporting.collect import Run, collect
from patchlight.reporting.differences import Settings, find_differences
from patchlight.reporting.directions import named_by_direction
from patchlight.reporting.plots import Plot, key_plots
from patchlight.reporting.protocols import Protocol, Protocols
from patchlight.reporting.table import NOTHING, Group, Table, make_groups, make_table


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs, grouped by what differed in their configurations apart from the seed."""

    runs: Sequence[Run]
    """All runs that were found; those that failed or are not finished say why in `message`, and have no figures."""

    settings: Settings
    """The keys that differ between finished runs: `table` has a row for each run, `names` a short name for each key."""

    groups: Sequence[Group]
    """Finished runs that differ by their seed only, in the order of the values."""

    table: Table
    """Mean, deviation and number of every metric: `cells[group.number, column.name]`; and who is ahead, if anyone."""

    protocols: Sequence[Protocol]
    """How figures were measured. More than one: metrics whose protocols contradict have several columns."""

    def frame(self) -> pd.DataFrame:
        """The table as texts such as `0.2777 ± 0.0031`: a row for each group, a column for each metric."""
        cells, columns = self.table.cells, self.table.columns
        rows = {
            group.label: {
                f"{column.name} {column.arrow}".strip(): cell.text(column) if cell else NOTHING
                for column in columns
                for cell in [cells.get((group.number, column.name))]
            }
            for group in self.groups
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def plots(self) -> list[Plot]:
        """A plot for each metric: means, deviations and single runs over what differed."""
        return key_plots(self.table, self.settings)


def compare(folders: Sequence[Path], *, weights: str = "last", ignore: Sequence[str] = ()) -> Comparison:
    """Read all runs below some folders and group those that differ by their seed only.

    `weights` are those whose figures are compared: `last`, `best` or `untrained`. Configuration keys in `ignore` do
    not tell runs apart.

    Raises:
        DataError: a folder is missing, there is no run below them, or none of the runs is finished.
    """
    runs = named_by_direction(collect(folders))
    finished = [run for run in runs if run.finished]
    settings = find_differences(finished, ignore)
    groups = make_groups(finished, settings)
    protocols = Protocols(finished, weights)
    return Comparison(runs, settings, groups, make_table(groups, weights, protocols), protocols.all)
