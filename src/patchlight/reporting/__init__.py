"""The report of some runs: a page, tables and plots. Needs pandas, matplotlib and jinja2, and no torch."""

from patchlight.reporting.collect import Run
from patchlight.reporting.compare import Comparison, compare
from patchlight.reporting.curves import group_curve
from patchlight.reporting.plots import Plot, colour_of
from patchlight.reporting.table import Group
from patchlight.reporting.write import Report, write_report

__all__ = ["Comparison", "Group", "Plot", "Report", "Run", "colour_of", "compare", "group_curve", "write_report"]
