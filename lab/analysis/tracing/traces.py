"""Time of requests by service and edge, summed over the critical paths of their traces."""

from __future__ import annotations

import functools
from collections import defaultdict
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from lab.analysis.tracing.critical_path import (
    CANCELLED,
    Span,
    Trace,
    clock_offsets,
    critical_path,
    trace_of,
)
from lab.analysis.windows import window
from lab.archive import ArchiveError, Run

TRACES_MAX = 20_000
NS_A_MS = 1e6
INGRESS = "nginx"  # left out: its span comes from its log in ms, too coarse for a path in ns

_COLUMNS = f"""
    s.span_id, coalesce(s.parent_span_id, ''), s.service, s.instance, s.kind, s.name,
    s.start_ns, s.end_ns, coalesce(s.peer, ''),
    coalesce(s.status = 'error' OR s.http_status >= 500, false),
    coalesce(json_extract_string(s.attributes, '$."error.type"') = '{CANCELLED}', false)
"""


class Traces:
    """The traces of a run, with the time on their critical paths.

    They are read once, at the first access. If a run has more than `traces_max` traces, a sample of
    that size is read. It is chosen by the hash of the trace ids, so it is the same each time.
    """

    def __init__(self, run: Run, traces_max: int = TRACES_MAX) -> None:
        self._run = run
        self._traces_max = traces_max

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row for each trace of a request: trace_id, route (the root's name), start_s,
        duration_ms, hop (the hop with most of its time), hop_ms, spans, errors, lost (spans whose
        parent is missing), shopper_ms (the shopper's waiting time, NaN if it was not recorded).
        """
        return self._read[0]

    @functools.cached_property
    def pieces(self) -> pd.DataFrame:
        """One row for each trace and hop: trace_id, hop, kind (`own` time of a service, `call` on an
        edge), ms. The rows of a trace sum to its duration.
        """
        return self._read[1]

    def routes(self) -> list[str]:
        """The names of the roots, the most frequent first."""
        return [str(name) for name in self.table["route"].value_counts().index]

    def of(self, over: str = "all", route: str | None = None) -> pd.DataFrame:
        """The rows of `table` that began in a window, for one route or all."""
        start_s, end_s = window(self._run, over)
        chosen = self.table[self.table["start_s"].between(start_s, end_s)]
        return chosen if route is None else chosen[chosen["route"] == route]

    def hops(self, over: str = "all", route: str | None = None) -> pd.DataFrame:
        """One row for each hop, the largest first: kind, ms (mean of all requests, 0 for those that
        did not wait there), share of the mean duration, seen (share of requests that waited there).
        """
        chosen = self.of(over, route)
        found = self.pieces[self.pieces["trace_id"].isin(chosen["trace_id"])]
        count = max(len(chosen), 1)
        grouped = found.groupby(["hop", "kind"])["ms"]
        table = pd.DataFrame({"ms": grouped.sum() / count, "seen": grouped.count() / count})
        table["share"] = table["ms"] / max(table["ms"].sum(), 1e-12)
        return table.reset_index("kind").sort_values("ms", ascending=False)

    def change(self, route: str | None = None, over: str = "during") -> pd.DataFrame:
        """The time that each hop adds to a request's mean in a window, compared with `before`.

        Columns: before_ms, during_ms (or the window's name), added_ms; the largest first. added_ms
        sums to the difference of the mean durations exactly. Empty if one window has no requests.
        """
        if self.of("before", route).empty or self.of(over, route).empty:
            return pd.DataFrame(columns=["before_ms", f"{over}_ms", "added_ms"], dtype=float)
        both = pd.DataFrame(
            {f"{when}_ms": self.hops(when, route)["ms"] for when in ("before", over)}
        ).fillna(0.0)
        both["added_ms"] = both[f"{over}_ms"] - both["before_ms"]
        return both.sort_values("added_ms", ascending=False)

    def tail(self, route: str | None = None, over: str = "all", q: float = 0.99) -> pd.DataFrame:
        """Slow requests compared with median ones, by hop: median_ms, slow_ms, added_ms.

        slow_ms: the mean of the traces at or above quantile q. median_ms: the mean of those between
        the 45th and the 55th percentile. added_ms sums to the gap of the two exactly; the largest
        is first. Empty below 20 traces.
        """
        chosen = self.of(over, route)
        if len(chosen) < 20:
            return pd.DataFrame(columns=["median_ms", "slow_ms", "added_ms"], dtype=float)
        low, high, slow = np.quantile(chosen["duration_ms"], [0.45, 0.55, q])
        parts = {
            "median_ms": chosen[chosen["duration_ms"].between(low, high)],
            "slow_ms": chosen[chosen["duration_ms"] >= slow],
        }
        wide = self.pieces.pivot_table(index="trace_id", columns="hop", values="ms", aggfunc="sum")
        means = {
            name: wide.loc[part["trace_id"]].fillna(0.0).mean() for name, part in parts.items()
        }
        table = pd.DataFrame(means)
        table = table[(table > 0).any(axis=1)]
        table["added_ms"] = table["slow_ms"] - table["median_ms"]
        return table.sort_values("added_ms", ascending=False)

    def over_time(self, route: str | None = None, width_s: float = 1.0) -> pd.DataFrame:
        """Mean ms of a request by hop (columns) and interval of `width_s` (index start_s, epoch)."""
        chosen = self.of("all", route)
        found = self.pieces.merge(chosen[["trace_id", "start_s"]], on="trace_id")
        at = (found["start_s"] // width_s) * width_s
        sums = found.groupby([at, "hop"])["ms"].sum().unstack(fill_value=0)
        counts = chosen.groupby((chosen["start_s"] // width_s) * width_s)["trace_id"].count()
        return sums.div(counts, axis=0)

    def slowest(self, count: int = 10, over: str = "all", route: str | None = None) -> pd.DataFrame:
        """The slowest traces of a window, as rows of `table`, the slowest first."""
        return self.of(over, route).nlargest(count, "duration_ms").reset_index(drop=True)

    def completeness(self) -> dict[str, float]:
        """How complete the traces are:

        requests       requests of shoppers that had an answer (any status)
        traced         share of those whose trace is in the archive
        lost_spans     spans in these traces whose parent is missing
        rootless       traces without a request at the top: background work, or a lost root
        analysed       share of the traces that this analysis read
        """
        answered, traced = self._run.sql(
            "SELECT count(*), count(*) FILTER (request_id IN (SELECT trace_id FROM spans WHERE service != ?))"
            " FROM requests WHERE status > 0 AND request_id IS NOT NULL",
            [INGRESS],
        ).fetchall()[0]
        counted = "SELECT count(DISTINCT trace_id) FROM spans WHERE service != ?"
        total = self._run.sql(counted, [INGRESS]).fetchall()[0][0]
        read = len(self.table) + self._read[2]
        return {
            "requests": float(answered),
            "traced": traced / answered if answered else float("nan"),
            "lost_spans": float(self.table["lost"].sum()),
            "rootless": float(self._read[2]),
            "analysed": read / total if total else float("nan"),
        }

    def trace(self, trace_id: str) -> Trace:
        """One trace as a tree, on its root's clock. Raises ArchiveError if the run does not have it."""
        rows = self._run.sql(
            f"SELECT s.trace_id, {_COLUMNS} FROM spans s WHERE s.trace_id = ? AND s.service != ?",  # noqa: S608
            [trace_id, INGRESS],
        ).fetchall()
        trace = trace_of([Span(*row[1:]) for row in rows], self._offsets)
        if trace is None:
            raise ArchiveError(f"{self._run.path} has no request with the trace id {trace_id!r}")
        return trace

    @functools.cached_property
    def _offsets(self) -> dict[tuple[str, str], int]:
        pairs = self._run.sql(
            """
            SELECT p.instance, c.instance, p.start_ns, p.end_ns, c.start_ns, c.end_ns
            FROM spans c JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
            WHERE p.kind = 'client' AND c.kind = 'server' AND p.instance != c.instance
              AND p.status != 'error' AND c.end_ns - c.start_ns <= p.end_ns - p.start_ns
            LIMIT 200000
            """
        ).fetchall()
        return clock_offsets(pairs)

    @functools.cached_property
    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame, int]:
        rows = self._run.sql(
            f"""
            WITH shop AS (SELECT * FROM spans WHERE service != ?),
                 chosen AS (SELECT DISTINCT trace_id FROM shop ORDER BY hash(trace_id), trace_id LIMIT ?)
            SELECT s.trace_id, {_COLUMNS} FROM shop s JOIN chosen USING (trace_id)
            ORDER BY s.trace_id
            """,  # noqa: S608
            [INGRESS, self._traces_max],
        ).fetchall()
        traces: list[dict[str, Any]] = []
        pieces: list[tuple[str, str, str, float]] = []
        rootless = 0
        for trace_id, group in groupby(rows, key=lambda row: row[0]):
            spans = [Span(*row[1:]) for row in group]
            trace = trace_of(spans, self._offsets)
            if trace is None:
                rootless += 1
                continue
            by_hop = _by_hop(trace)
            pieces += [(trace_id, hop, kind, ms) for (hop, kind), ms in by_hop.items()]
            traces.append(_row(trace_id, trace, spans, by_hop))
        return self._with_shoppers(traces), _pieces(pieces), rootless

    def _with_shoppers(self, traces: list[dict[str, Any]]) -> pd.DataFrame:
        names = ["trace_id", "route", "start_s", "duration_ms", "hop", "hop_ms", "spans", "errors"]
        table = pd.DataFrame(traces, columns=[*names, "lost"])
        table = table.astype({"start_s": float, "duration_ms": float, "hop_ms": float})
        waited = self._run.sql(
            "SELECT request_id AS trace_id, max(1000 * (end_s - actual_start_s)) AS shopper_ms"
            " FROM requests WHERE request_id IS NOT NULL GROUP BY request_id"
        ).df()
        return table.merge(waited, on="trace_id", how="left").sort_values("start_s")


def by_service(run: Run) -> pd.DataFrame:
    """One row for each service: calls and p95_ms of its server spans before, during and after the fault.

    Columns are `<window>_calls` and `<window>_p95_ms`; NaN if the service had no calls.
    """
    columns: dict[str, pd.Series] = {}
    for over in ("before", "during", "after"):
        start_s, end_s = window(run, over)
        found: pd.DataFrame = run.sql(
            "SELECT service, count(*) AS calls,"
            " quantile_cont((end_ns - start_ns) / 1e6, 0.95) AS p95_ms FROM spans"
            " WHERE kind = 'server' AND start_ns BETWEEN ? AND ? GROUP BY service",
            [int(start_s * 1e9), int(end_s * 1e9)],
        ).df()
        found = found.set_index("service")
        columns |= {f"{over}_{name}": found[name] for name in found.columns}
    return pd.DataFrame(columns).sort_index()


def _by_hop(trace: Trace) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = defaultdict(float)
    for piece in critical_path(trace):
        kind = "call" if piece.span.kind == "client" else "own"
        found[piece.span.hop, kind] += piece.duration_ns / NS_A_MS
    return found


def _row(
    trace_id: str, trace: Trace, spans: list[Span], by_hop: dict[tuple[str, str], float]
) -> dict[str, Any]:
    start, end = trace.times(trace.root)
    hop, _ = max(by_hop, key=lambda key: by_hop[key], default=(trace.root.hop, "own"))
    return {
        "trace_id": trace_id,
        "route": trace.root.name,
        "start_s": start / 1e9,
        "duration_ms": (end - start) / NS_A_MS,
        "hop": hop,
        "hop_ms": max(by_hop.values(), default=0.0),
        "spans": len(spans),
        "errors": sum(span.error for span in spans),
        "lost": len(trace.lost),
    }


def _pieces(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["trace_id", "hop", "kind", "ms"]).astype({"ms": float})
