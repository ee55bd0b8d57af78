"""The guard of a run: its limits, and what happens when one is passed."""
