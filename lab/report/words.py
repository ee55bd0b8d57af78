"""Texts and number formats of the report."""

from __future__ import annotations

from typing import Any

HEADLINES = {
    "held": "Held. The shop behaved as claimed.",
    "deviated": "Deviated. The shop did not behave as claimed.",
    "invalid": "Invalid. This run proves nothing about the shop.",
}
NOTHING = "\N{EN DASH}"
ADVICE = {
    "held": "",
    "deviated": "Deviations from the claim:",
    "invalid": "Why the run is invalid:",
}


def headline(verdict: dict[str, Any]) -> str:
    return HEADLINES[verdict["verdict"]]


def figure(value: float | None, unit: str = "") -> str:
    """A number with three significant digits and thousands separators; a dash for None or NaN."""
    if value is None or value != value:
        return NOTHING
    if unit == "" and abs(value) < 1 and value != 0:
        return f"{100 * value:.2g}%"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def ratio(value: float | None) -> str:
    """A share as a percentage."""
    if value is None or value != value:
        return NOTHING
    return f"{100 * value:.3g}%"


def quantity(value: float | None, unit: str, measure: str) -> str:
    """An SLI's value, limit or interval end in its own unit."""
    return ratio(value) if measure == "error_ratio" else figure(value, unit)


def interval(sli: dict[str, Any]) -> str:
    """The interval as `low to high`. If the upper end is unknown, the text has the reason."""
    if sli["value"] is None:
        return sli["note"] or "no data"
    low = quantity(sli["low"], sli["unit"], sli["measure"])
    high = quantity(sli["high"], sli["unit"], sli["measure"])
    if sli["high"] is None:
        return f"{low} or more ({sli['note']})"
    return f"{low} to {high}"


def example(row: dict[str, Any]) -> str:
    """The row of a violation as `name value` pairs."""
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)


def duration(seconds: float | None) -> str:
    if seconds is None or seconds != seconds:
        return NOTHING
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
