"""The evidence of a run besides the recorder's tables: metadata, faults, quiescence, databases."""
