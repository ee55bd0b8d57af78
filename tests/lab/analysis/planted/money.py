"""Planted bugs of money."""

from __future__ import annotations

from tests.lab.analysis.planted.state import (
    Planted,
    State,
    cancelled,
    change,
    confirmed,
    declined,
    of,
    planted,
)


def capture_again(state: State, order_id: str) -> None:
    """Book the capture of a confirmed order once more, under this reference."""
    capture = of(state, "bank.ledger", confirmed(state))[-1]
    again = {"reference": order_id, "entry_id": 10**6, "idempotency_key": "another"}
    state["bank.ledger"].append(capture | again)
    call = of(state, "payments.operations", confirmed(state))[-1]
    state["payments.operations"].append(call | {"order_id": order_id, "key": "another"})


def double_capture(state: State) -> None:
    capture_again(state, confirmed(state)["order_id"])


def confirmed_unpaid(state: State) -> None:
    for table in ("bank.ledger", "payments.operations"):
        state[table].remove(of(state, table, confirmed(state))[-1])


def cancelled_keeps_money(state: State) -> None:
    capture_again(state, declined(state)["order_id"])


def money_for_no_order(state: State) -> None:
    capture_again(state, "unknown")


def line_lost(state: State) -> None:
    state["orders.lines"].remove(of(state, "orders.lines", confirmed(state))[0])


def line_without_price(state: State) -> None:
    change(state, "orders.lines", confirmed(state), price_cents=0)


def catalogue_has_another_price(state: State) -> None:
    line = of(state, "orders.lines", confirmed(state))[0]
    product = next(p for p in state["products.products"] if p["id"] == line["sku"])
    product["price_cents"] += 1


def second_hold(state: State) -> None:
    hold = of(state, "bank.authorizations", confirmed(state))[0]
    entry = of(state, "bank.ledger", confirmed(state))[0]
    second = {"authorization_id": "second", "idempotency_key": "second"}
    call = of(state, "payments.operations", confirmed(state))[0]
    state["payments.operations"].append(call | {"key": "second"})
    state["bank.authorizations"].append(
        hold | second | {"captured_cents": 0, "status": "authorized"}
    )
    state["bank.ledger"].append(entry | second)


def hold_stays(state: State) -> None:
    """An order is cancelled, and the money stays held on the card."""
    order = declined(state)
    for table in ("bank.authorizations", "payments.payments"):
        change(state, table, order, status="authorized")
    entry = of(state, "bank.ledger", confirmed(state))[0]
    state["bank.ledger"].append(
        entry
        | {"reference": order["order_id"], "authorization_id": f"auth-{order['order_id']}"}
        | {
            "amount_cents": order["total_cents"],
            "idempotency_key": f"pay-{order['order_id']}:authorize",
        }
    )


def hold_in_dollars(state: State) -> None:
    change(state, "bank.authorizations", confirmed(state), currency="USD")


def hold_on_another_card(state: State) -> None:
    change(state, "bank.authorizations", confirmed(state), card_last4="1111")


def half_refund(state: State) -> None:
    order = cancelled(state)
    for table in ("bank.authorizations", "payments.payments"):
        change(state, table, order, refunded_cents=order["total_cents"] // 2)


def capture_above_hold(state: State) -> None:
    order = confirmed(state)
    for table in ("bank.authorizations", "payments.payments"):
        change(state, table, order, captured_cents=order["total_cents"] + 100)


def refund_not_sent(state: State) -> None:
    """Payments has refunded the order, and the bank has no refund."""
    order = cancelled(state)
    for table in ("bank.ledger", "payments.operations"):
        state[table].remove(of(state, table, order)[-1])
    change(state, "bank.authorizations", order, status="captured", refunded_cents=0)


def call_not_recorded(state: State) -> None:
    state["payments.operations"].remove(of(state, "payments.operations", confirmed(state))[-1])


def payment_of_another_customer(state: State) -> None:
    change(state, "payments.payments", confirmed(state), user_id="id-other")


def payment_in_dollars(state: State) -> None:
    for table in ("bank.authorizations", "payments.payments"):
        change(state, table, confirmed(state), currency="USD")


PLANTED: dict[str, Planted] = {
    "double_capture": planted(1, double_capture, 12),
    "confirmed_unpaid": planted(2, confirmed_unpaid, 12),
    "cancelled_keeps_money": planted(2, cancelled_keeps_money, 12),
    "money_for_no_order": planted(2, money_for_no_order, 12),
    "line_lost": planted(10, line_lost, 14, 20),
    "line_without_price": planted(10, line_without_price),
    "catalogue_has_another_price": planted(10, catalogue_has_another_price),
    "second_hold": planted(11, second_hold),
    "hold_stays": planted(11, hold_stays),
    "hold_in_dollars": planted(11, hold_in_dollars, 13),
    "hold_on_another_card": planted(11, hold_on_another_card),
    "half_refund": planted(12, half_refund),
    "capture_above_hold": planted(12, capture_above_hold),
    "refund_not_sent": planted(13, refund_not_sent, 2),
    "payment_of_another_customer": planted(13, payment_of_another_customer),
    "call_not_recorded": planted(13, call_not_recorded),
    "payment_in_dollars": planted(13, payment_in_dollars, 11),
}
