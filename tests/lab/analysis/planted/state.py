"""The audit tables that a bug is planted in: how to find and change the rows of an order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lab.analysis.simulated_databases import Row

State = dict[str, list[Row]]
KEYS = {
    "bank.authorizations": "reference", "bank.ledger": "reference", "orders.outbox": "aggregate_id",
}  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """A bug: the invariant that names it, how it changes the tables, and the invariants that see it too."""

    invariant: int
    plant: Callable[[State], None]
    also: frozenset[int] = frozenset()


def planted(invariant: int, plant: Callable[[State], None], *also: int) -> Planted:
    return Planted(invariant, plant, frozenset(also))


def confirmed(state: State) -> Row:
    """A confirmed order with one line."""
    lines = [row["order_id"] for row in state["orders.lines"]]
    return next(
        order
        for order in state["orders.orders"]
        if order["status"] == "confirmed" and lines.count(order["order_id"]) == 1
    )


def declined(state: State) -> Row:
    """An order that was cancelled because the card was declined."""
    return next(o for o in state["orders.orders"] if o["reason"] == "payment_declined")


def cancelled(state: State) -> Row:
    """A confirmed order that the customer cancelled."""
    return next(o for o in state["orders.orders"] if o["reason"] == "customer")


def of(state: State, table: str, order: Row) -> list[Row]:
    """The rows of an order in a table."""
    key = KEYS.get(table, "order_id")
    return [row for row in state[table] if row.get(key) == order["order_id"]]


def change(state: State, table: str, order: Row, /, **values: Any) -> None:
    """Set columns of an order's rows in a table."""
    rows = of(state, table, order)
    assert rows, f"{table} has no row of {order['order_id']}"
    for row in rows:
        row.update(values)


def forget(state: State, event: str, *tables: str) -> None:
    """Remove the rows of an event from the tables; by default all its effects."""
    for table in tables or ("notifications.inbox", "notifications.mails", "mail.messages"):
        key = "message_id" if table == "mail.messages" else "event_id"
        state[table] = [row for row in state[table] if event not in str(row[key])]


def event_of(state: State, order: Row, kind: str) -> Row:
    """The outbox row of an order's event."""
    return next(row for row in of(state, "orders.outbox", order) if row["type"] == kind)


def change_payload(event: Row, **values: Any) -> None:
    event["payload"] = json.dumps(json.loads(event["payload"]) | values)
