"""Faults of a running lab: armed in services, processes and edges, removed, audited."""
