"""The guard of a run: its limits, and the reaction when one is passed."""
