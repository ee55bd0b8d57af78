"""What a check of one invariant finds, and the views over the audit tables that checks share."""

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
    """`checked` things were looked at; `violations` are definite, `possible` depend on unknowns."""

    checked: int
    violations: Rows = field(default_factory=list)
    possible: Rows = field(default_factory=list)
    detail: str = ""


def rows(relation: duckdb.DuckDBPyRelation) -> Rows:
    """A relation as a list of dicts."""
    names = relation.columns
    return [dict(zip(names, values, strict=True)) for values in relation.fetchall()]


def count(run: Run, query: str) -> int:
    """The one number that a query gives."""
    number: int = run.sql(query).fetchall()[0][0]
    return number


def prepare(run: Run) -> None:
    """Make every audit table a view (`bank.ledger` as `bank_ledger`), and `this_run` of order ids.

    The databases outlive a run. Orders are this run's if they changed, or their money moved, since
    it began: what an earlier run broke is that run's finding. Stock counts as a whole.
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
        ids.distinct().create_view("this_run", replace=True)
    for outbox in ("orders.outbox", "users.outbox"):
        if outbox in run.states:
            events = run.state(outbox)
            recent = events.filter(f"{epoch_s(events, 'created_at')} >= {since}")
            recent.create_view(outbox.replace(".", "_"), replace=True)


def missing(run: Run, tables: Sequence[str]) -> list[str]:
    """Which of these audit tables the archive lacks."""
    return [table for table in tables if table not in run.states]
