"""Deadline propagation: a header carries the remaining time of a request from service to service."""

from __future__ import annotations

import math

# A duration, not a point in time: clocks of machines differ, and monotonic clocks have no common origin.
BUDGET_HEADER = "Breakwater-Budget-Ms"


def to_header(deadline: float, now: float) -> str:
    """The whole milliseconds left until `deadline` (both monotonic seconds), at least "0"."""
    return str(max(0, math.floor((deadline - now) * 1000 + 1e-6)))


def from_header(text: str, now: float) -> float:
    """The absolute deadline (monotonic seconds) from a received header.

    Raises ValueError unless `text` is a whole number of milliseconds >= 0.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{BUDGET_HEADER} must be a whole number of milliseconds, got {text!r}")
    return now + int(text) / 1000


def sooner(one: float | None, other: float | None) -> float | None:
    """The sooner of two deadlines; None means no deadline."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
