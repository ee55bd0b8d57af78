"""The parts of a run that a fault is judged by: when it was active, and the undisturbed time before it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chassis.fault_record import FaultRecord
from lab.analysis.windows import run_span
from lab.archive import Run

DEFAULT_TTL_S = 30.0  # of a fault without one, to bound its window
AFTERMATH_S = 5.0  # retries and reconnections after another fault


@dataclass(frozen=True)
class Windows:
    """`during`: (start, end). `before`: the parts of the recording before the fault without any other fault."""

    before: tuple[tuple[float, float], ...]
    during: tuple[float, float]

    @property
    def lasted_s(self) -> float:
        return self.during[1] - self.during[0]

    def quiet(self, times: Sequence[float]) -> list[list[float]]:
        """Of these sorted times, those in each part before."""
        return [list(times[bisect_left(times, a) : bisect_left(times, b)]) for a, b in self.before]


def windows_of(run: Run, fault: FaultRecord) -> Windows:
    """From the fault's effect, else from its command, to its removal."""
    first_s, last_s = run_span(run)
    commanded_s = fault.commanded_s or fault.effective_s or last_s
    start_s = fault.effective_s or commanded_s
    end_s = fault.removed_s or min(start_s + (fault.ttl_s or DEFAULT_TTL_S), last_s)
    others = run.sql(
        "SELECT coalesce(commanded_s, effective_s), coalesce(removed_s, commanded_s + coalesce(ttl_s, ?))"
        " FROM faults WHERE fault_id <> ? AND coalesce(commanded_s, effective_s) < ? ORDER BY 1",
        [DEFAULT_TTL_S, fault.fault_id, commanded_s],
    ).fetchall()
    quiet, from_s = [], first_s
    for began_s, ended_s in others:
        if began_s > from_s:
            quiet.append((from_s, began_s))
        from_s = max(from_s, (ended_s or began_s) + AFTERMATH_S)
    if commanded_s > from_s:
        quiet.append((from_s, commanded_s))
    return Windows(tuple(quiet), (start_s, max(start_s, end_s)))


def longest_gap(times: Sequence[float], start_s: float, end_s: float) -> tuple[float, float]:
    """The longest time between two neighbours of these sorted times that reaches into the window, as its two ends.

    Where no time is before or after the window, its end bounds the gap.
    """
    first, last = bisect_left(times, start_s), bisect_right(times, end_s)
    ends = [
        times[first - 1] if first else start_s,
        *times[first:last],
        times[last] if last < len(times) else end_s,
    ]
    return max(pairwise(ends), key=lambda gap: gap[1] - gap[0])


def usual_gap_s(times: Sequence[float]) -> float:
    """The longest time between two neighbours; 0 for fewer than two."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
