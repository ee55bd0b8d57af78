"""Rate, errors, duration and gauges from a metrics table of the recorder or a Prometheus."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pandas as pd

from lab.archive import Run

SERVER = "http_server_request_duration_seconds"

# The growth of a counter since the last successful scrape of its instance (`since_s`). A value below the last
# one is a restart, which counts from zero. A series that appears after its instance's first scrape does too.
_GROWTH = """
    WITH scrapes AS (
        SELECT instance, time_s, lag(time_s) OVER (PARTITION BY instance ORDER BY time_s) AS since_s
        FROM (SELECT DISTINCT instance, time_s FROM metrics WHERE NOT (name = 'up' AND value = 0))
    ),
    samples AS (
        SELECT time_s, service, instance, labels, value,
               lag(value) OVER (PARTITION BY service, instance, labels ORDER BY time_s) AS before
        FROM metrics WHERE name = ? AND value IS NOT NULL
    )
    SELECT time_s, since_s, service, instance, labels,
           CASE WHEN before IS NULL THEN if(since_s IS NULL, 0, value)
                WHEN value < before THEN value ELSE value - before END AS growth
    FROM samples JOIN scrapes USING (instance, time_s)
"""
GAP_STEPS = 2.0  # growth over a longer gap between scrapes belongs to no step


def growth(run: Run, counter: str, *labels: str) -> pd.DataFrame:
    """time_s, since_s, service, instance, growth, and a column for each label of the counter.

    `labels` are columns in any case. A missing label is "".
    """
    return _with_labels(run.sql(_GROWTH, [counter]).df(), labels)


def gauge(run: Run, name: str, *labels: str) -> pd.DataFrame:
    """time_s, service, instance, value, and a column for each label as in `growth`."""
    frame = run.sql(
        "SELECT time_s, service, instance, labels, value FROM metrics"
        " WHERE name = ? AND value IS NOT NULL ORDER BY time_s",
        [name],
    ).df()
    return _with_labels(frame, labels)


def by_route(run: Run, q: float = 0.95) -> pd.DataFrame:
    """service, route, requests, errors (5xx), and the quantile q_s between q_low_s and q_high_s.

    The bounds are those of the histogram bucket that contains the quantile.
    """
    counts, buckets = _counts(run), _buckets(run)
    rows = []
    for (service, route), group in counts.groupby(["service", "http_route"]):
        if requests := int(group["growth"].sum()):
            own = buckets[(buckets["service"] == service) & (buckets["http_route"] == route)]
            failed = group["http_response_status_code"].str.startswith("5")
            errors = int(group.loc[failed, "growth"].sum())
            rows.append((service, route, requests, errors, *quantile(own, q)))
    columns = ["service", "route", "requests", "errors", "q_low_s", "q_high_s", "q_s"]
    return pd.DataFrame(rows, columns=columns)


def over_time(run: Run, service: str, step_s: float = 2.0, q: float = 0.95) -> pd.DataFrame:
    """time_s (the middle of each step), requests_per_s, errors_per_s, q_ms of a service.

    A step without a successful scrape of the service is missing.
    """
    counts, buckets = _counts(run), _buckets(run)
    counts = _stepped(counts[counts["service"] == service], step_s)
    buckets = _stepped(buckets[buckets["service"] == service], step_s)
    rows = []
    for middle_s, group in counts.groupby("step_s"):
        failed = group["http_response_status_code"].str.startswith("5")
        seen = buckets[buckets["step_s"] == middle_s]
        errors = group.loc[failed, "growth"].sum()
        q_ms = 1000 * quantile(seen, q)[2]
        rows.append((middle_s, group["growth"].sum() / step_s, errors / step_s, q_ms))
    return pd.DataFrame(rows, columns=["time_s", "requests_per_s", "errors_per_s", "q_ms"])


def spans_over_time(run: Run, service: str, step_s: float = 2.0, q: float = 0.95) -> pd.DataFrame:
    """The columns of `over_time`, from the archive's server spans, which are not sampled."""
    frame: pd.DataFrame = run.sql(
        "SELECT (floor(end_ns / 1e9 / $step) + 0.5) * $step AS time_s,"
        " count(*) / $step AS requests_per_s,"
        " count(*) FILTER (http_status >= 500) / $step AS errors_per_s,"
        " quantile_cont((end_ns - start_ns) / 1e6, $q) AS q_ms"
        " FROM spans WHERE kind = 'server' AND service = $service GROUP BY 1 ORDER BY 1",
        {"step": step_s, "q": q, "service": service},
    ).df()
    return frame


def quantile(buckets: pd.DataFrame, q: float) -> tuple[float, float, float]:
    """(lower bound, upper bound, estimate) of the quantile from bucket growth; NaN without growth.

    Bounds are those of the quantile's bucket. The estimate assumes that the bucket's requests are
    evenly spread, as PromQL's histogram_quantile does.
    """
    if buckets.empty or not buckets["growth"].sum():
        return (float("nan"),) * 3
    grown = buckets.groupby(buckets["le"].astype(float))["growth"].sum().sort_index()
    rank, low_s, below = q * grown.iloc[-1], 0.0, 0.0
    for high_s, count in grown.items():
        bound_s = float(str(high_s))
        if count >= rank:
            if bound_s == float("inf"):
                return low_s, bound_s, low_s
            return low_s, bound_s, low_s + (bound_s - low_s) * (rank - below) / (count - below)
        low_s, below = bound_s, float(count)
    raise AssertionError("the last bucket contains all")  # le="+Inf", or it is not a histogram


def _counts(run: Run) -> pd.DataFrame:
    return growth(run, f"{SERVER}_count", "http_route", "http_response_status_code")


def _buckets(run: Run) -> pd.DataFrame:
    return growth(run, f"{SERVER}_bucket", "http_route", "le")


def _stepped(frame: pd.DataFrame, step_s: float) -> pd.DataFrame:
    frame = frame[~(frame["time_s"] - frame["since_s"] > GAP_STEPS * step_s)]
    return frame.assign(step_s=(frame["time_s"] // step_s + 0.5) * step_s)


def _with_labels(frame: pd.DataFrame, wanted: Collection[str]) -> pd.DataFrame:
    texts = frame["labels"].unique()
    labels: list[dict[str, Any]] = [json.loads(text) for text in texts]
    columns = pd.DataFrame(labels, index=texts, dtype=object)
    for name in wanted:
        if name not in columns:
            columns[name] = ""
    return frame.join(columns.fillna("").astype(str), on="labels").drop(columns="labels")
