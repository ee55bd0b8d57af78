"""Planted bugs of orders, of their sagas and of what shoppers were answered."""

from __future__ import annotations

from typing import Any

from tests.lab.analysis.planted.state import (
    Planted,
    State,
    cancelled,
    change,
    confirmed,
    declined,
    event_of,
    forget,
    of,
    planted,
)
from tests.lab.analysis.simulated_databases import ON_HAND, RESERVED, SHIPPED, move


def same_key_twice(state: State) -> None:
    """The same request creates a second, complete order."""
    order_id = confirmed(state)["order_id"]
    for rows in state.values():
        rows += [
            {name: _twin(value, order_id) for name, value in row.items()}
            for row in rows
            if order_id in str(row)
        ]
    for row in state["inventory.reservations"]:
        if row["order_id"] == f"{order_id}-twin":
            move(state, row["sku"], row["quantity"], ON_HAND, SHIPPED)


def _twin(value: Any, order_id: str) -> Any:
    return value.replace(order_id, f"{order_id}-twin") if isinstance(value, str) else value


def lost_order(state: State) -> None:
    order = confirmed(state)
    for table in ("orders.orders", "orders.lines", "orders.sagas", "orders.saga_log"):
        for row in of(state, table, order):
            state[table].remove(row)


def rejected_yet_confirmed(state: State) -> None:
    """An order that was answered with 402 is confirmed."""
    change(state, "orders.orders", declined(state), status="confirmed")


def compensated_twice(state: State) -> None:
    entry = next(row for row in state["orders.saga_log"] if row["phase"] == "compensated")
    state["orders.saga_log"].append(entry | {"seq": 10**6})


def compensated_never(state: State) -> None:
    entry = next(row for row in state["orders.saga_log"] if row["phase"] == "compensated")
    state["orders.saga_log"].remove(entry)


def unfinished_saga(state: State) -> None:
    """An order that hangs after its payment was declined; its stock is still reserved."""
    order = declined(state)
    event = event_of(state, order, "OrderCancelled")["event_id"]
    change(state, "orders.orders", order, status="pending", reason="", version=1)
    change(state, "orders.sagas", order, state="running")
    change(state, "inventory.reservations", order, status="held")
    for row in of(state, "inventory.reservations", order):
        move(state, row["sku"], row["quantity"], ON_HAND, RESERVED)
    forget(state, event, "orders.outbox")
    forget(state, event)


def cancel_does_nothing(state: State) -> None:
    """The customer's cancellation was answered, and the order is as it was before."""
    order = cancelled(state)
    event = event_of(state, order, "OrderCancelled")["event_id"]
    change(state, "orders.orders", order, status="confirmed", reason="", version=2)
    change(state, "orders.sagas", order, kind="checkout", state="done")
    for table in ("bank.authorizations", "payments.payments"):
        change(state, table, order, status="captured", refunded_cents=0)
    for table in ("bank.ledger", "payments.operations"):
        state[table].remove(of(state, table, order)[-1])
    change(state, "inventory.reservations", order, status="committed")
    for row in of(state, "inventory.reservations", order):
        move(state, row["sku"], row["quantity"], ON_HAND, SHIPPED)
    forget(state, event, "orders.outbox")
    forget(state, event)


def paid_with_another_card(state: State) -> None:
    for table in ("orders.orders", "bank.authorizations"):
        change(state, table, confirmed(state), card_last4="1111")


PLANTED: dict[str, Planted] = {
    "same_key_twice": planted(4, same_key_twice),
    "lost_order": planted(6, lost_order, 11, 14, 15, 17),
    "rejected_yet_confirmed": planted(6, rejected_yet_confirmed, 2, 9, 11, 14, 15, 17),
    "compensated_twice": planted(7, compensated_twice),
    "compensated_never": planted(7, compensated_never),
    "unfinished_saga": planted(8, unfinished_saga),
    "cancel_does_nothing": planted(19, cancel_does_nothing, 21),
    "paid_with_another_card": planted(20, paid_with_another_card),
}
