"""Latency and errors by route and time. Latency counts from the intended start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd

from lab.analysis.intervals import Interval, Values, quantile_interval
from lab.analysis.windows import window
from lab.archive import Run

SPECTRUM = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)

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
    """One row for each logical request, whatever its number of attempts.

    Columns: logical_id, route, arm, session, attempts, intended_start_s, actual_start_s, end_s,
    status, outcome, error, dropped, and in seconds

    response_s  end - *intended* start: how long a shopper who came at that time waited
    naive_s     end - actual start: the value of a closed-loop load generator
    lag_s       actual - intended start: how late the request was sent

    A dropped request was never sent: it has only an intended start and counts as an error. Outcome
    and status are those of the last attempt. `run.sql` can query the table by this name. It is
    created at the first call and is not updated while the run is still recorded.
    """
    run.execute(_MAKE)
    return run.sql("SELECT * FROM shopper_requests")


def response_times(run: Run, route: str | None = None, over: str = "all") -> Values:
    """Response times in seconds from the intended start, in order of arrival.

    Failed requests are included: without those that timed out, the slowest requests would be
    missing. Fast errors show in the error ratio.
    """
    return _column(run, "response_s", route, over)


def failures(run: Run, route: str | None = None, over: str = "all") -> Values:
    """1.0 for each logical request that failed, had an unknown outcome or was dropped, else 0.0."""
    return _column(run, "CASE WHEN outcome = 'ok' THEN 0.0 ELSE 1.0 END", route, over)


def by_route(run: Run, over: str = "all", *, intervals: bool = True) -> pd.DataFrame:
    """One row for each route: requests, attempts, errors, error_ratio, p50_ms, p95_ms, p99_ms.

    With `intervals` also the ends of the 95% intervals of p95 and p99 (NaN if there is none).
    """
    shopper_requests(run)
    start, end = window(run, over)
    table: pd.DataFrame = run.sql(
        """
        SELECT route, count(*) AS requests, sum(attempts)::BIGINT AS attempts,
               count(*) FILTER (outcome IS DISTINCT FROM 'ok') AS errors,
               errors / requests AS error_ratio,
               1000 * quantile_cont(response_s, 0.5) AS p50_ms,
               1000 * quantile_cont(response_s, 0.95) AS p95_ms,
               1000 * quantile_cont(response_s, 0.99) AS p99_ms
        FROM shopper_requests WHERE intended_start_s BETWEEN ? AND ?
        GROUP BY route ORDER BY requests DESC, route
        """,
        [start, end],
    ).df()
    if not intervals:
        return table
    for name, q in (("p95", 0.95), ("p99", 0.99)):
        found = [quantile_interval(response_times(run, route, over), q) for route in table["route"]]
        table[f"{name}_low_ms"] = [_ms(each.low) for each in found]
        table[f"{name}_high_ms"] = [_ms(each.high) for each in found]
    return table


def over_time(run: Run, route: str | None = None, width_s: float = 1.0) -> pd.DataFrame:
    """One row for each route and interval of `width_s`: start_s, requests, errors, p50_ms, p95_ms, p99_ms.

    A request belongs to the interval of its intended start. Percentiles are computed from the
    requests of the interval, never averaged.
    """
    shopper_requests(run)
    frame: pd.DataFrame = run.sql(
        """
        SELECT route, floor(intended_start_s / ?) * ? AS start_s, count(*) AS requests,
               count(*) FILTER (outcome IS DISTINCT FROM 'ok') AS errors,
               1000 * quantile_cont(response_s, 0.5) AS p50_ms,
               1000 * quantile_cont(response_s, 0.95) AS p95_ms,
               1000 * quantile_cont(response_s, 0.99) AS p99_ms
        FROM shopper_requests WHERE ? IS NULL OR route = ?
        GROUP BY ALL ORDER BY route, start_s
        """,
        [width_s, width_s, route, route],
    ).df()
    return frame


def spectra(
    run: Run, route: str | None = None, over: str = "all", at: Sequence[float] = SPECTRUM
) -> pd.DataFrame:
    """The percentile spectrum two ways, in ms: quantile, naive_ms, intended_ms.

    naive_ms counts from the actual send, as a closed-loop load generator does. intended_ms counts
    from the intended start. The gap is coordinated omission; it is zero if requests were sent when
    they were due. Quantiles beyond the number of requests are left out.
    """
    columns = {
        "naive_ms": _column(run, "naive_s", route, over),
        "intended_ms": response_times(run, route, over),
    }
    count = len(columns["intended_ms"])
    at = [q for q in at if count * (1.0 - q) >= 1.0 - 1e-9]
    return pd.DataFrame(
        {"quantile": at}
        | {name: 1000 * np.quantile(values, at) if at else [] for name, values in columns.items()}
    )


def corrected(naive_s: Values, expected_interval_s: float) -> Values:
    """Correct closed-loop data: for each value v add v-i, v-2i, ... down to the interval i.

    This is HdrHistogram's rule. The added values are the waits of the requests that a blocked
    client did not send. Use it for data of other tools; an open-loop run has intended starts.
    """
    if expected_interval_s <= 0:
        return naive_s
    extra = [
        np.arange(value - expected_interval_s, expected_interval_s * 0.999999, -expected_interval_s)
        for value in naive_s[naive_s > expected_interval_s]
    ]
    return np.concatenate([naive_s, *extra])


def send_lag(run: Run) -> dict[str, float]:
    """How late requests were sent: p50, p99 and max in ms, and `requests`; empty if none was sent."""
    lag = _column(run, "lag_s", None, "all") * 1000
    if not len(lag):
        return {}
    p50, p99 = np.quantile(lag, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "max": float(np.max(lag)), "requests": len(lag)}


def quantile_of(run: Run, q: float, route: str | None, over: str) -> Interval:
    """A latency quantile in ms with its 95% interval."""
    found = quantile_interval(response_times(run, route, over), q)
    low, high = (None if end is None else 1000 * end for end in (found.low, found.high))
    return replace(found, value=1000 * found.value, low=low, high=high)


def _column(run: Run, expression: str, route: str | None, over: str) -> Values:
    """The values of an SQL expression for the logical requests of a route and window, by arrival."""
    rows = shopper_requests(run)
    start, end = window(run, over) if len(rows) else (0.0, 0.0)
    found = run.sql(
        f"""
        SELECT ({expression})::DOUBLE AS v FROM shopper_requests
        WHERE v IS NOT NULL AND intended_start_s BETWEEN ? AND ? AND (? IS NULL OR route = ?)
        ORDER BY intended_start_s
        """,  # noqa: S608
        [start, end, route, route],
    )
    values: Values = found.fetchnumpy()["v"].astype(np.float64)
    return values


def _ms(seconds: float | None) -> float:
    return float("nan") if seconds is None else 1000 * seconds
