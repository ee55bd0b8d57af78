"""A run's report: one self-contained page that a stranger can read."""

from lab.report.page import render, write_report

__all__ = ["render", "write_report"]
