"""Checks the shop's invariants on the databases of its services after a run."""

from lab.analysis.consistency.checks import INVARIANTS, Result, check, check_all

__all__ = ["INVARIANTS", "Result", "check", "check_all"]
