"""The status of each fault of a run, by evidence: one module per mechanism (services, edges, processes)."""
