"""When things happened: the fault's band and the windows that SLIs and plots speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.archive import Run

WINDOWS = ("before", "during", "after", "all")


@dataclass(frozen=True)
class Band:
    """A stretch of the run in epoch seconds."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def run_span(run: Run) -> tuple[float, float]:
    """(start, end) of the run in epoch seconds: run.json's, else of its requests.

    Raises ValueError when nothing says when the run was.
    """
    started, ended = run.info.get("started_s"), run.info.get("ended_s")
    first, last = _one(run, "SELECT min(intended_start_s), max(end_s) FROM requests")
    start = started if started is not None else first
    end = ended if ended is not None else last
    if start is None or end is None:
        raise ValueError(f"{run.path} does not say when it was: no started_s, no requests")
    return float(start), float(end)


def load_span(run: Run) -> tuple[float, float]:
    """(start, end) of the load: from the first intended start to the last answer."""
    first, last = _one(
        run, "SELECT min(intended_start_s), max(coalesce(end_s, intended_start_s)) FROM requests"
    )
    return (float(first), float(last)) if first is not None else run_span(run)


def fault_bands(run: Run) -> list[Band]:
    """One band a fault, from its effective start (else its command) to its removal."""
    rows: list[tuple[str, float, float | None]] = run.sql(
        "SELECT kind || ' on ' || target, coalesce(effective_s, commanded_s), removed_s"
        " FROM faults WHERE coalesce(effective_s, commanded_s) IS NOT NULL ORDER BY 2"
    ).fetchall()
    method = run.phase("method")
    end = method[1] if method else run_span(run)[1] if rows else 0.0
    # A crash has no removal: what it lasted is what the method gave it.
    return [
        Band(name, start, max(start, end if gone is None else gone)) for name, start, gone in rows
    ]


def window(run: Run, name: str) -> tuple[float, float]:
    """(start, end) in epoch seconds of `before`, `during`, `after` or `all`.

    during: from the first fault's effective start to the last one's removal, else phase `method`.
    before, after: the phase of that name, else what the load did before and after the fault.
    Raises ValueError for another name.
    """
    if name not in WINDOWS:
        raise ValueError(f"window {name!r} is unknown: use one of {', '.join(WINDOWS)}")
    if name == "all":
        first, last = run.phase("before"), run.phase("after")
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
