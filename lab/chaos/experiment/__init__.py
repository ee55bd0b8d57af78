"""Experiment files: find them, read them with line numbers, check them."""
