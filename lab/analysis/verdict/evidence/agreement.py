"""Independent records of the same thing agree: schedule, requests, history, spans, faults, scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence.shapes import mapping, mappings
from lab.archive import Run
from lab.load.profiles import ACTIONS, PLANNED, Profile
from lab.load.schedule import Schedule, make_schedule
from lab.recorder.names import RECORDER

OPERATIONS = tuple(ACTIONS[action] for action in ("order", "track", "cancel"))
TRACED_SHARE_MIN = 0.99
SCRAPE_GAP_S = 5.0


def schedule(run: Run, claim: Claim) -> Iterator[str]:
    """Each arrival of the schedule, which follows from profile and seed, has its request."""
    load, last = mapping(run.info.get("load")), run.phase("load" if run.is_load else "after")
    planned, started_s = load.get("planned"), load.get("started_s")
    try:
        expected = _schedule(run)
    except (KeyError, TypeError, ValueError):
        yield "run.json: load.profile, load.schedule_s and seed give no schedule"
        return
    if expected.hash != load.get("schedule_hash"):
        yield f"run.json: schedule_hash is {load.get('schedule_hash')}, profile and seed give {expected.hash}"
    if not isinstance(planned, int) or not isinstance(started_s, float) or last is None:
        return
    due = expected.due_before(last[1] - started_s)
    if planned < due:
        yield f"run.json: {planned:,} arrivals were planned, the schedule has {due:,} before the load's end"
    rows = run.sql("SELECT DISTINCT intended_start_s FROM requests").fetchall()
    starts = {round(start_s, 6) for (start_s,) in rows if start_s is not None}
    arrivals = (round(started_s + each.at_s, 6) for each in expected.arrivals[: max(planned, due)])
    if lacking := sum(at_s not in starts for at_s in arrivals):
        yield f"requests.parquet: {lacking:,} of {planned:,} arrivals of the schedule have no request"


def _schedule(run: Run) -> Schedule:
    load = run.info["load"]
    profile = Profile(**{name: load["profile"][name] for name in PLANNED})
    return make_schedule(profile, run.info["seed"], float(load["schedule_s"]))


def history(run: Run, claim: Claim) -> Iterator[str]:
    """Each operation on an order is in `requests` and in `history`, there with its begin and its end."""
    lacking: tuple[Any, ...] = run.sql(
        """
        WITH asked AS (
            SELECT DISTINCT session || '/' || logical_id AS process FROM requests
            WHERE route IN (SELECT unnest($routes)) AND actual_start_s IS NOT NULL
        ), recorded AS (
            SELECT process, count(*) FILTER (type = 'invoke') AS begun, count(*) AS lines FROM history
            GROUP BY 1
        )
        SELECT count(*) FILTER (recorded.process IS NULL), count(*) FILTER (asked.process IS NULL),
            count(*) FILTER (begun <> 1 OR lines <> 2)
        FROM asked FULL JOIN recorded USING (process)
        """,
        {"routes": list(OPERATIONS)},
    ).fetchall()[0]
    for count, gap in zip(
        lacking,
        (
            "history.parquet: {} operations of requests.parquet are missing",
            "requests.parquet: {} operations of history.parquet are missing",
            "history.parquet: {} operations have no begin or no end",
        ),
        strict=True,
    ):
        if count:
            yield gap.format(f"{count:,}")


def traces(run: Run, claim: Claim) -> Iterator[str]:
    """Each answered request has spans under its request id. A killed instance loses its last second of spans."""
    answered, traced = run.sql(
        "SELECT count(*), count(*) FILTER (request_id IN (SELECT trace_id FROM spans))"
        " FROM requests WHERE status > 0 AND request_id IS NOT NULL"
    ).fetchall()[0]
    if answered and traced < TRACED_SHARE_MIN * answered:
        yield f"spans.parquet: {answered - traced:,} of {answered:,} answered requests have no span"


def faults(run: Run, claim: Claim) -> Iterator[str]:
    """Each fault that an action of the journal returned is in the table."""
    stored = {row[0] for row in run.faults.project("fault_id").fetchall()}
    for each in mappings((run.journal or {}).get("run")):
        output = each.get("output")
        for row in mappings(output if isinstance(output, list) else [output]):
            if "fault_id" in row and row["fault_id"] not in stored:
                yield f"faults.parquet: the fault {row['fault_id']} of the journal is missing"


def scrapes(run: Run, claim: Claim) -> Iterator[str]:
    """Each instance has a sample `up`, 0 or 1, each second, unless a fault stopped the recorder."""
    first, last = ("load", "load") if run.is_load else ("before", "after")
    begin, end = run.phase(first), run.phase(last)
    if begin is None or end is None:
        return
    late = run.sql(
        """
        WITH scraped AS (
            SELECT instance, time_s FROM metrics WHERE name = 'up' AND time_s BETWEEN $from AND $to
            UNION ALL SELECT 'any instance', unnest([$from, $to])
            UNION ALL SELECT 'any instance', time_s FROM metrics
            WHERE name = 'up' AND time_s BETWEEN $from AND $to
        ), gaps AS (
            SELECT instance, lag(time_s) OVER (PARTITION BY instance ORDER BY time_s) AS begin_s,
                time_s AS end_s FROM scraped
        )
        SELECT instance, max(end_s - begin_s) FROM gaps
        WHERE end_s - begin_s > $longest AND NOT EXISTS (
            FROM faults WHERE target = $recorder AND commanded_s < end_s
            AND coalesce(removed_s, commanded_s + ttl_s) > begin_s
        )
        GROUP BY 1 ORDER BY 1
        """,
        {"from": begin[0], "to": end[1], "recorder": RECORDER, "longest": SCRAPE_GAP_S},
    ).fetchall()
    yield from (f"metrics.parquet: no sample of {name} in {gap:.0f} s" for name, gap in late)
