"""The shopper's view: one row a logical request, whatever number of attempts it took."""

from __future__ import annotations

import duckdb

from lab.archive import Run

_MAKE = """
    CREATE TEMP TABLE IF NOT EXISTS shopper_requests AS
    WITH attempts AS (
        SELECT *, coalesce(logical_id, 'seq ' || seq) AS id, coalesce(attempt_no, 1) AS n
        FROM requests
    )
    SELECT id AS logical_id, arg_min(route, n) AS route, arg_min(arm, n) AS arm,
           arg_min(session, n) AS session, count(*) AS attempts,
           min(intended_start_s) AS intended_start_s, min(actual_start_s) AS actual_start_s,
           max(end_s) AS end_s, arg_max(status, n) AS status, arg_max(outcome, n) AS outcome,
           arg_max(error, n) AS error, bool_or(coalesce(dropped, false)) AS dropped,
           max(end_s) - min(intended_start_s) AS response_s,
           max(end_s) - min(actual_start_s) AS naive_s,
           min(actual_start_s) - min(intended_start_s) AS lag_s
    FROM attempts GROUP BY id
"""


def shopper_requests(run: Run) -> duckdb.DuckDBPyRelation:
    """One row a logical request: logical_id, route, arm, session, attempts, intended_start_s,
    actual_start_s, end_s, status, outcome, error, dropped, and in seconds

    response_s  end - *intended* start: what a shopper who came at that time waited
    naive_s     end - actual start: what a load tester that was held up would report
    lag_s       actual - intended start: how late the sender was

    A request that was never sent (dropped) has no times but its intended start, and counts as an
    error. Outcome and status are the last attempt's. Also a table of that name in `run.sql`,
    made at the first call: a run still being recorded is seen as it was then.
    """
    run.execute(_MAKE)
    return run.sql("SELECT * FROM shopper_requests")
