"""What a run gathers beside the recorder's tables: metadata, faults, quiescence, databases."""
