"""Planted bugs of goods."""

from __future__ import annotations

from tests.lab.analysis.planted.state import (
    Planted,
    State,
    cancelled,
    change,
    confirmed,
    of,
    planted,
)
from tests.lab.analysis.simulated_databases import ON_HAND, RESERVED, SHIPPED, Row, move


def goods_of(state: State, order: Row) -> tuple[str, int]:
    """The SKU and the quantity of an order's first reservation."""
    row = of(state, "inventory.reservations", order)[0]
    return row["sku"], row["quantity"]


def stock_below_zero(state: State) -> None:
    row = state["inventory.stock"][0]
    row["shipped"] += row["on_hand"] + 1
    row["on_hand"] = -1


def oversell(state: State) -> None:
    # A lost update: two buyers read the same stock; both reservations exist, but only one was counted.
    move(state, *goods_of(state, confirmed(state)), SHIPPED, ON_HAND)


def never_shipped(state: State) -> None:
    order = confirmed(state)
    change(state, "inventory.reservations", order, status="held")
    move(state, *goods_of(state, order), SHIPPED, RESERVED)


def not_returned(state: State) -> None:
    order = cancelled(state)
    change(state, "inventory.reservations", order, status="committed")
    for row in of(state, "inventory.reservations", order):
        move(state, row["sku"], row["quantity"], ON_HAND, SHIPPED)


def one_more_shipped(state: State) -> None:
    order = confirmed(state)
    sku, quantity = goods_of(state, order)
    change(state, "inventory.reservations", order, quantity=quantity + 1)
    move(state, sku, 1, ON_HAND, SHIPPED)


def reserved_for_no_order(state: State) -> None:
    row = of(state, "inventory.reservations", confirmed(state))[0]
    state["inventory.reservations"].append(row | {"order_id": "unknown"})
    move(state, row["sku"], row["quantity"], ON_HAND, SHIPPED)


PLANTED: dict[str, Planted] = {
    "stock_below_zero": planted(3, stock_below_zero),
    "oversell": planted(3, oversell),
    "never_shipped": planted(14, never_shipped),
    "not_returned": planted(14, not_returned),
    "one_more_shipped": planted(14, one_more_shipped),
    "reserved_for_no_order": planted(14, reserved_for_no_order),
}
