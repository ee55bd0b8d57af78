"""Takes in what the running system tells (spans, logs, metrics) and writes a run's raw tables."""
