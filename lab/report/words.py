"""Texts and number formats of the report."""

from __future__ import annotations

from typing import Any

from lab.analysis.intervals import Interval

HEADLINES = {
    "held": "Held. The shop behaved as claimed.",
    "measured": "Measured. This load has no limits to keep or break.",
    "deviated": "Deviated. The shop did not behave as claimed.",
    "undecided": "Undecided. Nothing was broken, but the run is too short to be certain.",
    "invalid": "Invalid. This run proves nothing about the shop.",
}
NOTHING = "\N{EN DASH}"
ADVICE = {
    "held": "",
    "measured": "",
    "deviated": "Deviations from the claim:",
    "undecided": "Not decided:",
    "invalid": "Why the run is invalid:",
}


def headline(verdict: dict[str, Any], of_load: bool = False) -> str:
    if of_load and verdict["verdict"] == "invalid":
        return "Invalid. These figures are not those of the planned load on a free machine."
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


def mark(answer: str) -> str:
    """The class of a mark for an answer; each class also has a sign of its own."""
    return {"kept": "ok", "broken": "no"}.get(answer, "open")


def interval(sli: dict[str, Any]) -> str:
    """The interval as `low to high`, else the reason why there is none."""
    if sli["low"] is None or sli["high"] is None:
        return sli["note"] or "no data"
    low = quantity(sli["low"], sli["unit"], sli["measure"])
    high = quantity(sli["high"], sli["unit"], sli["measure"])
    return f"{low} to {high}"


def ends(found: Interval, unit: str) -> str:
    """The interval in ms, per second, or as a share with the unit `%`; else the reason why there is none."""
    if found.low is None or found.high is None:
        return found.note or "no data"
    low, high = (
        ratio(end) if unit == "%" else figure(end, unit) for end in (found.low, found.high)
    )
    return f"{low} to {high}"


def more(sli: dict[str, Any]) -> str:
    """What would decide an undecided limit."""
    if sli["more"] is None:
        return "how many more requests would decide it cannot be estimated"
    time = f", {figure(sli['more_s'])} s" if sli["more_s"] is not None else ""
    return f"about {figure(sli['more'])} more requests{time} would decide it"


def example(row: dict[str, Any]) -> str:
    """The row of a violation as `name value` pairs."""
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)


def duration(seconds: float | None) -> str:
    if seconds is None or seconds != seconds:
        return NOTHING
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
