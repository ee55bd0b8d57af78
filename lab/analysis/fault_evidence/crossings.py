"""The calls over an edge, as the caller saw them: its spans, its breaker's rejections, its new connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.windows import Windows, windows_of
from lab.analysis.red import growth
from lab.archive import Run
from lab.topology import STORES

INGRESS = "ingress"
PEERS = {"smtp": "mail"}  # the callee in the spans of its callers
# types of errors in spans; those of stores have none
LOST = ("CallFailed", None)
OPENED = "connections_opened_total"
# start, end, status, HTTP status, type of the error
TO_INSTANCE = """
    SELECT start_ns / 1e9, end_ns / 1e9, status, http_status,
        json_extract_string(attributes, '$."error.type"')
    FROM spans WHERE kind = 'client' AND service = $caller
        AND json_extract_string(attributes, '$."breakwater.peer.instance"') = $callee
    UNION ALL SELECT time_s, time_s, 'error', NULL, 'rejected' FROM breakers
        WHERE kind = 'rejection' AND edge = $edge
    ORDER BY 1
"""
TO_SERVER = """
    SELECT start_ns / 1e9, end_ns / 1e9, status, http_status,
        json_extract_string(attributes, '$."error.type"')
    FROM spans WHERE service = $caller
        AND (kind = 'client' AND peer = $peer OR kind = 'producer' AND $peer = 'nats')
    ORDER BY 1
"""
# nginx has one span for each request; its gateway's span is a child
FROM_INGRESS = """
    WITH nginx AS (
        SELECT *, json_extract_string(attributes, '$."breakwater.upstream"') AS upstream FROM spans
        WHERE service = 'nginx'
    ),
    addresses AS (
        SELECT DISTINCT nginx.upstream FROM nginx JOIN spans child ON child.parent_span_id = nginx.span_id
        WHERE child.instance = $callee AND nginx.upstream NOT LIKE '%,%'
    )
    SELECT start_ns / 1e9, end_ns / 1e9, status, http_status,
        json_extract_string(attributes, '$."error.type"')
    FROM nginx WHERE EXISTS (
        FROM addresses WHERE contains(nginx.upstream, addresses.upstream))
    ORDER BY 1
"""


@dataclass(frozen=True)
class Crossing:
    """One call: its start, its duration in seconds, whether it failed or was refused, and without an answer.

    `lost`: the connection was lost or refused, so it is no time-out and no answer of 5xx.
    """

    start_s: float
    seconds: float
    failed: bool
    lost: bool = False


@dataclass(frozen=True)
class Crossings:
    """`opened_before`, `opened_during`: the caller's new connections in each second; None if not recorded."""

    windows: Windows
    before: Sequence[Crossing]
    during: Sequence[Crossing]
    opened_before: Sequence[float] | None = None
    opened_during: Sequence[float] | None = None

    def outcomes(self, bad: Callable[[Crossing], bool]) -> tuple[list[bool], list[bool]]:
        """(before, during) in time order."""
        return [bad(each) for each in self.before], [bad(each) for each in self.during]

    def seconds(self, bad: Callable[[Crossing], bool]) -> tuple[list[bool], list[bool]]:
        """(before, during): of each second with a call, whether one was bad. Failures in a group count once."""
        return _by_second(self.before, bad), _by_second(self.during, bad)

    def counts(self, bad: Callable[[Crossing], bool]) -> tuple[list[float], list[float]]:
        """(before, during): how many calls were bad in each second, also in those without a call."""
        hits = [
            [(each.start_s, 1.0) for each in part if bad(each)]
            for part in (self.before, self.during)
        ]
        before = [count for part in self.windows.before for count in _each_second(hits[0], *part)]
        return before, _each_second(hits[1], *self.windows.during)


def crossings(run: Run, fault: FaultRecord) -> Crossings:
    caller, _, callee = fault.target.partition("->")
    windows = windows_of(run, fault)
    if caller == INGRESS:
        rows = run.sql(FROM_INGRESS, {"callee": callee}).fetchall()
    elif callee in (*STORES, *PEERS):
        names = {"caller": caller, "peer": PEERS.get(callee, callee)}
        rows = run.sql(TO_SERVER, names).fetchall()
    else:
        edge = f"{caller}->{callee.rpartition('-')[0]}"
        names = {"caller": caller, "callee": callee, "edge": edge}
        rows = run.sql(TO_INSTANCE, names).fetchall()
    calls = [
        Crossing(
            start_s,
            end_s - start_s,
            failed=status == "error" or (http_status or 0) >= 500,
            lost=status == "error" and not http_status and error in LOST,
        )
        for start_s, end_s, status, http_status, error in rows
    ]
    before, during = (_within(calls, part) for part in (windows.before, (windows.during,)))
    return Crossings(windows, before, during, *_opened(run, caller, callee, windows))


def _by_second(calls: Iterable[Crossing], bad: Callable[[Crossing], bool]) -> list[bool]:
    found: dict[int, bool] = {}
    for each in calls:
        second = int(each.start_s)
        found[second] = found.get(second, False) or bad(each)
    return list(found.values())


def _within(calls: Iterable[Crossing], parts: Iterable[tuple[float, float]]) -> list[Crossing]:
    spans = list(parts)
    return [each for each in calls if any(a <= each.start_s < b for a, b in spans)]


def _opened(
    run: Run, caller: str, callee: str, windows: Windows
) -> tuple[list[float] | None, list[float] | None]:
    """(before, during): new connections in each second."""
    frame = growth(run, OPENED, "peer")
    frame = frame[frame["service"] == caller] if len(frame) else frame
    if not len(frame):
        return None, None
    frame = frame[frame["peer"] == callee]
    events = list(zip(frame["time_s"], frame["growth"], strict=True))
    before = [count for part in windows.before for count in _each_second(events, *part)]
    return before, _each_second(events, *windows.during)


def _each_second(
    events: Sequence[tuple[float, float]], start_s: float, end_s: float
) -> list[float]:
    """A scrape counts in the second in which it ends."""
    counts = [0.0] * ceil(end_s - start_s)
    for time_s, count in events:
        if start_s <= time_s < end_s:
            counts[int(time_s - start_s)] += count
    return counts
