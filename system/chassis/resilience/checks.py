"""Checks of settings at construction. The error names the setting."""

from __future__ import annotations

import math


def positive(name: str, value: float) -> float:
    """`value` if it is a finite number > 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be > 0, got {value!r}")
    return value


def not_negative(name: str, value: float) -> float:
    """`value` if it is a finite number >= 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be >= 0, got {value!r}")
    return value


def share(name: str, value: float) -> float:
    """`value` if it is in (0, 1]."""
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {value!r}")
    return value


def more_than(name: str, value: float, bound: float) -> float:
    """`value` if it is a finite number > `bound`."""
    if not bound < value < math.inf:
        raise ValueError(f"{name} must be > {bound:g}, got {value!r}")
    return value


def at_least(name: str, value: int, least: int) -> int:
    """`value` if it is a whole number >= `least`."""
    if not float(value).is_integer() or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)
