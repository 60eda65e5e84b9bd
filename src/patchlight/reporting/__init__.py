"""The report of some runs: a page, tables and plots. Needs pandas, matplotlib and jinja2, and no torch."""

from patchlight.reporting.collect import collect
from patchlight.reporting.differences import find_differences
from patchlight.reporting.plots import colour_of, group_curve, key_plots
from patchlight.reporting.protocols import Protocols
from patchlight.reporting.table import make_groups, make_table
from patchlight.reporting.write import Report, write_report

__all__ = [
    "Protocols",
    "Report",
    "collect",
    "colour_of",
    "find_differences",
    "group_curve",
    "key_plots",
    "make_groups",
    "make_table",
    "write_report",
]
