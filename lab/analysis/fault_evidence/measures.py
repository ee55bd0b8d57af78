"""What spans and scrapes show around a fault."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from chassis.fault_record import FaultRecord
from lab.analysis.windows import run_span
from lab.archive import Run

DEFAULT_TTL_S = 30.0  # of a fault without one, to bound its window


@dataclass(frozen=True)
class Calls:
    """Calls at a fault's target while it was active, and in an equally long time before."""

    during: list[float]  # durations in seconds
    before: list[float]
    errors_during: int
    errors_before: int

    def slow(self, least_s: float) -> tuple[int, int]:
        """How many took at least as long, less 2% for the clocks: (during, before)."""
        least_s *= 0.98
        return sum(d >= least_s for d in self.during), sum(d >= least_s for d in self.before)

    def medians_ms(self) -> tuple[float | None, float | None]:
        return _median_ms(self.during), _median_ms(self.before)

    def as_dict(self) -> dict[str, Any]:
        median_during, median_before = self.medians_ms()
        return {
            "calls_during": len(self.during),
            "calls_before": len(self.before),
            "errors_during": self.errors_during,
            "errors_before": self.errors_before,
            "median_ms_during": median_during,
            "median_ms_before": median_before,
        }


def calls_at(run: Run, fault: FaultRecord) -> Calls:
    start_s = fault.effective_s or fault.commanded_s
    if start_s is None:
        return Calls([], [], 0, 0)
    end_s = fault.removed_s or min(start_s + (fault.ttl_s or DEFAULT_TTL_S), run_span(run)[1])
    target = fault.target.split("->")[-1]
    during, errors = _spans(run, target, start_s, end_s)
    before, errors_before = _spans(run, target, start_s - (end_s - start_s), start_s)
    return Calls(during, before, errors, errors_before)


def absence(run: Run, fault: FaultRecord) -> dict[str, float | None]:
    """Seconds until scrapes failed (down_s) and succeeded again (back_s); the gap in the spans (silent_s)."""
    start_s, instance = fault.effective_s or fault.commanded_s or 0.0, fault.target
    down, back = run.sql(
        """
        WITH up AS (SELECT time_s, value FROM metrics
                    WHERE name = 'up' AND instance = ? AND time_s >= ? ORDER BY time_s),
             down AS (SELECT min(time_s) AS at FROM up WHERE value = 0)
        SELECT down.at, (SELECT min(time_s) FROM up WHERE value = 1 AND time_s > down.at) FROM down
        """,
        [instance, start_s],
    ).fetchall()[0]
    after, before = run.sql(
        "SELECT min(start_ns) FILTER (start_ns > ?) / 1e9, max(end_ns) FILTER (start_ns <= ?) / 1e9"
        " FROM spans WHERE instance = ?",
        [int(start_s * 1e9), int(start_s * 1e9), instance],
    ).fetchall()[0]
    return {
        "down_s": None if down is None else down - start_s,
        "back_s": None if back is None else back - start_s,
        "silent_s": None if after is None or before is None else max(0.0, after - before),
    }


def _spans(run: Run, target: str, start_s: float, end_s: float) -> tuple[list[float], int]:
    """(durations in s, errors) of server and client spans at the target that started in the window."""
    found = run.sql(
        """
        SELECT (end_ns - start_ns) / 1e9, status = 'error' OR coalesce(http_status, 0) >= 500
        FROM spans
        WHERE start_ns BETWEEN ? AND ? AND (
            (kind = 'server' AND (instance = ? OR service = ?))
            OR (kind = 'client' AND (peer = ? OR peer LIKE '%->' || ?)))
        """,
        [int(start_s * 1e9), int(end_s * 1e9), target, target, target, _service(target)],
    ).fetchall()
    return [duration for duration, _ in found], sum(bool(error) for _, error in found)


def _service(target: str) -> str:
    head, _, number = target.rpartition("-")
    return head if head and number.isdigit() else target


def _median_ms(durations: list[float]) -> float | None:
    return round(1000 * statistics.median(durations), 3) if durations else None
