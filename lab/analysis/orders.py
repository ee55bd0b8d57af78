"""Orders placed, confirmed and cancelled over time, from the orders database or the answers."""

from __future__ import annotations

import duckdb
import pandas as pd

from lab.analysis.windows import run_span
from lab.archive import Run

COLUMNS = ["time_s", "placed", "confirmed", "cancelled", "ended"]


def over_time(run: Run, width_s: float = 1.0) -> pd.DataFrame:
    """Orders in each interval: time_s (its start), placed, confirmed, cancelled, ended.

    The source is the audit of the orders database: an order is placed at created_at and reaches its
    last state at updated_at. Without an audit the source is the shoppers' answers, which miss
    orders without an answer. `ended` counts an order when it is first confirmed or cancelled, by its
    first event. Orders of earlier runs on the same lab are left out.
    """
    start_s, end_s = run_span(run)
    events = _from_audit(run) if "orders.orders" in run.states else _from_answers(run)
    events = events[(events["time_s"] >= start_s) & (events["time_s"] <= end_s)]
    if events.empty:
        return pd.DataFrame(columns=COLUMNS)
    interval = (events["time_s"] // width_s * width_s).rename("time_s")
    counts = events.groupby([interval, "what"]).size().unstack(fill_value=0)
    every = [counts.index[0] + i * width_s for i in range(_steps(counts.index, width_s))]
    counts = counts.reindex(pd.Index(every, name="time_s"), fill_value=0)
    return counts.reindex(columns=COLUMNS[1:], fill_value=0).reset_index()


def totals(run: Run) -> dict[str, int]:
    """placed, confirmed, cancelled, ended in the whole run."""
    table = over_time(run)
    return {name: int(table[name].sum()) for name in COLUMNS[1:]}


def cancelled_by_reason(run: Run) -> dict[str, int]:
    """How many orders of this run were cancelled, by reason, the most frequent first; empty without an audit."""
    if "orders.orders" not in run.states:
        return {}
    found = _of_run(run).filter("status = 'cancelled'").aggregate("reason, count(*) AS n", "reason")
    return {str(reason or "unknown"): n for reason, n in found.order("n DESC, reason").fetchall()}


def placed_by_others(run: Run) -> int:
    """How many orders of this run no shopper of the load placed, but a probe or a person; 0 without an audit."""
    if "orders.orders" not in run.states:
        return 0
    shoppers = [name for (name,) in run.sql("SELECT DISTINCT session FROM requests").fetchall()]
    emails = (email for (email,) in _of_run(run).project("email").fetchall())
    return sum(str(email).partition("@")[0] not in shoppers for email in emails)


def _of_run(run: Run) -> duckdb.DuckDBPyRelation:
    rows = run.state("orders.orders")
    start_s, end_s = run_span(run)
    return rows.filter(f"{epoch_s(rows, 'created_at')} BETWEEN {start_s} AND {end_s}")


def epoch_s(relation: duckdb.DuckDBPyRelation, column: str) -> str:
    """An SQL expression for a timestamp, text or number column in epoch seconds."""
    kind = str(relation.types[relation.columns.index(column)])
    if kind in ("DOUBLE", "FLOAT", "BIGINT", "INTEGER"):
        return f'"{column}"::DOUBLE'
    return f'epoch("{column}"::TIMESTAMPTZ)'


def _from_audit(run: Run) -> pd.DataFrame:
    rows = run.state("orders.orders")
    created, updated = epoch_s(rows, "created_at"), epoch_s(rows, "updated_at")
    placed = rows.project(f"{created} AS time_s, 'placed' AS what")
    ended = rows.filter("status IN ('confirmed', 'cancelled')")
    what = placed.union(ended.project(f"{updated} AS time_s, status AS what"))
    if "orders.outbox" in run.states:
        events = run.state("orders.outbox").filter("type IN ('OrderConfirmed', 'OrderCancelled')")
        at = epoch_s(events, "created_at")
        first = events.aggregate(f"aggregate_id, min({at}) AS time_s")
        what = what.union(first.project("time_s, 'ended' AS what"))
    else:
        what = what.union(ended.project(f"{updated} AS time_s, 'ended' AS what"))
    frame: pd.DataFrame = what.df()
    return frame


def _from_answers(run: Run) -> pd.DataFrame:
    frame: pd.DataFrame = run.sql(
        """
        SELECT intended_start_s AS time_s, 'placed' AS what FROM requests
        WHERE route = 'POST /api/orders' AND order_id IS NOT NULL AND attempt_no = 1
        UNION ALL SELECT end_s, 'confirmed' FROM requests
        WHERE route = 'POST /api/orders' AND status = 201
        UNION ALL SELECT end_s, 'cancelled' FROM requests
        WHERE (route = 'POST /api/orders' AND status IN (402, 409) AND order_id IS NOT NULL)
           OR (route = 'POST /api/orders/{id}/cancel' AND status = 200)
        UNION ALL SELECT min(end_s), 'ended' FROM requests
        WHERE order_id IS NOT NULL AND (route = 'POST /api/orders' AND status IN (201, 402, 409)
           OR route = 'POST /api/orders/{id}/cancel' AND status = 200)
        GROUP BY order_id
        """
    ).df()
    return frame


def _steps(index: pd.Index, width_s: float) -> int:
    return round(float(index[-1] - index[0]) / width_s) + 1
