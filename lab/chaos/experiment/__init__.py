"""Experiment files: found, read with line numbers, checked."""
