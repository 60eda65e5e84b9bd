"""The report of some runs: a page, tables and plots. Needs pandas, matplotlib and jinja2, and no torch."""

from patchlight.reporting.write import Report, write_report

__all__ = ["Report", "write_report"]
