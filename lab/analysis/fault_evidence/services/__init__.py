"""Evidence for a fault inside a service: one module per kind of witness, one table of all kinds."""

from lab.analysis.fault_evidence.services.table import confirmed_by, judge

__all__ = ["confirmed_by", "judge"]
