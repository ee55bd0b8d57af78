"""The result of one invariant's check, and the views over audit tables that the checks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from lab.analysis.orders import epoch_s
from lab.archive import Run

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """`checked`: number of items. `violations` are definite, `possible` ones depend on an open outcome.

    `lacks`: what the archive lacks for this check; then nothing was checked.
    """

    checked: int
    violations: Rows = field(default_factory=list)
    possible: Rows = field(default_factory=list)
    detail: str = ""
    lacks: str = ""


def rows(relation: duckdb.DuckDBPyRelation) -> Rows:
    """A relation as a list of dicts."""
    names = relation.columns
    return [dict(zip(names, values, strict=True)) for values in relation.fetchall()]


def count(run: Run, query: str) -> int:
    """The single number that a query returns."""
    number: int = run.sql(query).fetchall()[0][0]
    return number


def find(
    run: Run, checked: str, *violations: str, at_quiescence: Sequence[str] = (), detail: str = ""
) -> Finding:
    """The rows of all queries; `checked` is a query of the number of items.

    Rows of `at_quiescence` are only possible violations if the run ended before quiescence.
    """
    definite = [row for query in violations for row in rows(run.sql(query).order("1, 2"))]
    pending = [row for query in at_quiescence for row in rows(run.sql(query).order("1, 2"))]
    return unless_working(run, count(run, checked), definite, pending, detail)


def unless_working(
    run: Run, checked: int, definite: Rows, pending: Rows, detail: str = ""
) -> Finding:
    """`pending` violations are only possible ones if the shop was still working at the audit."""
    if run.info.get("quiescence", {}).get("reached") is False:
        return Finding(checked, definite, pending, detail or "the run ended before quiescence")
    return Finding(checked, definite + pending, [], detail)


def create_recent(run: Run, name: str, table: str, column: str) -> None:
    """Create the view `name`: the rows of an audit table whose time is in this run."""
    rows_of_all_runs = run.state(table)
    began_s = float(run.info.get("started_s", 0.0))
    recent = rows_of_all_runs.filter(f"{epoch_s(rows_of_all_runs, column)} >= {began_s}")
    recent.create_view(name, replace=True)


def prepare(run: Run) -> None:
    """Create a view of each audit table (`bank.ledger` as `bank_ledger`) and a table `this_run` of order ids.

    The databases outlive a run. An order belongs to this run if it changed, or its money moved,
    since the run began. Violations of earlier runs are not reported again. Stock counts as a whole.
    """
    run.with_state(*run.states)
    since = float(run.info.get("started_s", 0.0))
    touched = [
        run.state(table).filter(f"{epoch_s(run.state(table), when)} >= {since}").project(key)
        for table, key, when in (
            ("orders.orders", "order_id", "updated_at"),
            ("bank.ledger", "reference AS order_id", "at"),
        )
        if table in run.states
    ]
    if touched:
        ids = touched[0] if len(touched) == 1 else touched[0].union(touched[1])
        ids.distinct().create_view("ids_of_this_run", replace=True)
        # A table, because most checks read it, some several times.
        run.execute("CREATE OR REPLACE TEMP TABLE this_run AS FROM ids_of_this_run")
    for outbox in ("orders.outbox", "users.outbox"):
        if outbox in run.states:
            create_recent(run, outbox.replace(".", "_"), outbox, "created_at")


def with_traces(run: Run, examples: Rows) -> Rows:
    """The examples, each with the trace that placed its order: `trace_id`."""
    ids = [str(each["order_id"]) for each in examples if each.get("order_id")]
    if not ids:
        return examples
    query = (
        "SELECT order_id, min(request_id) FROM requests"
        " WHERE order_id IN (SELECT unnest(?)) AND route = 'POST /api/orders' GROUP BY 1"
    )
    traces = dict(run.sql(query, [ids]).fetchall())
    if "orders.sagas" in run.states and "traceparent" in run.state("orders.sagas").columns:
        # the shopper of an order without an answer knows no order id
        own = "SELECT order_id, split_part(traceparent, '-', 2) FROM orders_sagas WHERE traceparent <> ''"
        stored = run.sql(f"{own} AND order_id IN (SELECT unnest(?))", [ids])
        traces = dict(stored.fetchall()) | traces
    return [{"trace_id": traces.get(str(each.get("order_id")))} | each for each in examples]


def missing(run: Run, tables: Sequence[str]) -> list[str]:
    """The given audit tables that the archive does not have."""
    return [table for table in tables if table not in run.states]


def orders_missing(run: Run) -> str:
    """Why an invariant without items is not about a quiet run, but about a hole in the archive; "" if it is not.

    A run whose shoppers placed orders has orders in the audit. Then an invariant about
    cancellations may have nothing to check. Without orders or requests the archive says nothing.
    """
    if "orders.orders" in run.states and count(run, "SELECT count(*) FROM this_run"):
        return ""
    requests, placed = run.sql(
        "SELECT count(*), count(order_id) FILTER (route = 'POST /api/orders') FROM requests"
    ).fetchall()[0]
    if not requests:
        return "the archive has no requests and no orders of this run"
    return "shoppers placed orders, but the audit has none of this run" if placed else ""
