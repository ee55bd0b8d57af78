"""Names everything that a verdict is based on, and what of it is missing, damaged or contradictory."""

from lab.analysis.verdict.evidence.gaps import gaps

__all__ = ["gaps"]
