"""What the recorder writes: a recording's tables and the run's progress."""
