"""The recorder's output: the tables of a recording, and the run's progress as metrics."""
