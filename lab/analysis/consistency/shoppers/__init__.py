"""Invariants of what shoppers saw: the answers in the request log against the databases."""
