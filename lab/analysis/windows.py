"""The time windows of a run: the bands of its faults, and the windows of SLIs and plots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.archive import Run

WINDOWS = ("before", "during", "after", "all")


@dataclass(frozen=True)
class Band:
    """A named part of the run, in epoch seconds."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def run_span(run: Run) -> tuple[float, float]:
    """(start, end) of the run in epoch seconds, from run.json or else from its requests.

    Raises ValueError if the archive has neither.
    """
    started, ended = run.info.get("started_s"), run.info.get("ended_s")
    first, last = _one(run, "SELECT min(intended_start_s), max(end_s) FROM requests")
    start = started if started is not None else first
    end = ended if ended is not None else last
    if start is None or end is None:
        raise ValueError(f"{run.path} has no time: neither started_s nor requests")
    return float(start), float(end)


def load_span(run: Run) -> tuple[float, float]:
    """(start, end) of the load: from the first intended start to the last answer."""
    first, last = _one(
        run, "SELECT min(intended_start_s), max(coalesce(end_s, intended_start_s)) FROM requests"
    )
    return (float(first), float(last)) if first is not None else run_span(run)


def followed_span(run: Run) -> tuple[float, float]:
    """(start, end) of the load and of the phase `drain`, in which pending orders are followed to their end."""
    start, end = load_span(run)
    drain = run.phase("drain")
    return start, max(end, drain[1]) if drain else end


def fault_bands(run: Run) -> list[Band]:
    """One band for each fault, from its effective start (or else its command) to its removal."""
    rows: list[tuple[str, float, float | None]] = run.sql(
        "SELECT kind || ' on ' || target, coalesce(effective_s, commanded_s), removed_s"
        " FROM faults WHERE coalesce(effective_s, commanded_s) IS NOT NULL ORDER BY 2"
    ).fetchall()
    method = run.phase("method")
    end = method[1] if method else run_span(run)[1] if rows else 0.0
    # A crash has no removal: it lasts until the method ends.
    return [
        Band(name, start, max(start, end if gone is None else gone)) for name, start, gone in rows
    ]


def is_disturbed(run: Run) -> bool:
    """Whether there was an experiment or a fault: else there is no time before it to compare with."""
    return not run.is_load or bool(fault_bands(run))


def window(run: Run, name: str) -> tuple[float, float]:
    """(start, end) in epoch seconds of `before`, `during`, `after` or `all`.

    during: from the first fault's effective start to the last one's removal, or else the phase
    `method`. before, after: the phase of that name, or else the load before and after the fault.
    Raises ValueError for another name.
    """
    if name not in WINDOWS:
        raise ValueError(f"window {name!r} is unknown: use one of {', '.join(WINDOWS)}")
    if name == "all":
        first, last = (run.phase(each) or run.phase("load") for each in ("before", "after"))
        load = load_span(run)
        return (first[0] if first else load[0], last[1] if last else load[1])
    if name == "during":
        return during(run)
    phase = run.phase(name)
    if phase:
        return phase
    start, end = load_span(run)
    fault_start, fault_end = during(run)
    return (start, fault_start) if name == "before" else (fault_end, end)


def during(run: Run) -> tuple[float, float]:
    """The union of all fault bands; without a fault the phase `method`, else the whole load."""
    bands = fault_bands(run)
    if bands:
        return min(band.start_s for band in bands), max(band.end_s for band in bands)
    return run.phase("method") or load_span(run)


def _one(run: Run, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = run.sql(query).fetchall()[0]
    return row
