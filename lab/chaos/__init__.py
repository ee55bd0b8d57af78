"""Chaos Toolkit actions, probes and controls for the running shop, and the reader of experiment files."""
