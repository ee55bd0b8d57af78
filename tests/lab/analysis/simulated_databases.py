"""The databases, the bank and the mails of the simulated shop: the rows that an audit finds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
TABLES = """
    orders.orders orders.lines orders.sagas orders.saga_log orders.outbox
    payments.payments payments.operations bank.authorizations bank.ledger
    inventory.stock inventory.reservations products.products
    notifications.mails notifications.inbox mail.messages users.users users.outbox
"""
MAILS = {
    "OrderConfirmed": ("order_confirmed", "Your order is confirmed"),
    "OrderCancelled": ("order_cancelled", "Your order was cancelled"),
    "UserRegistered": ("welcome", "Welcome to the shop"),
}
ON_HAND, RESERVED, SHIPPED = "on_hand", "reserved", "shipped"


def user_id(name: str) -> str:
    return f"id-{name}"


def email(name: str) -> str:
    return f"{name}@example.com"


@dataclass
class Bought:
    """What an order is about. `lines`: (SKU, quantity, price in cents)."""

    order_id: str
    user: str
    key: str
    lines: Sequence[tuple[str, int, int]]
    card: str
    trace_id: str

    @property
    def total_cents(self) -> int:
        return sum(quantity * price for _, quantity, price in self.lines)


@dataclass
class Databases:
    """`prices`: cents by SKU. Each method is one step of the shop at the time `now`, in epoch seconds."""

    prices: dict[str, int]
    users: Sequence[str]
    state: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state.update((name, []) for name in TABLES.split())
        self._entry, self._event, self._log = (itertools.count(1) for _ in range(3))
        for sku, price in self.prices.items():
            self.state["products.products"].append(
                {"id": sku, "price_cents": price, "currency": "EUR", "version": 1}
            )
            counts = {"initial": 500, ON_HAND: 500, RESERVED: 0, SHIPPED: 0, "version": 1}
            self.state["inventory.stock"].append({"sku": sku, **counts})
        for name in self.users:
            self.add_user(name, 0.0)

    def add_user(self, name: str, now: float) -> None:
        self.state["users.users"].append(
            {"user_id": user_id(name), "email": email(name), "created_at": now}
        )

    def register(self, name: str, now: float) -> None:
        """A new account, its event and its welcome mail."""
        self.add_user(name, now)
        self._publish("users.outbox", "UserRegistered", user_id(name), now, email=email(name))
        self._mail(
            "UserRegistered", user_id(name), name, None, "Hello,\n\nyour account is ready.\n", now
        )

    def place(self, order: Bought, now: float) -> None:
        trace = f"00-{order.trace_id}-0000000000000001-01"
        self.state["orders.orders"].append(
            {
                **{"order_id": order.order_id, "user_id": user_id(order.user)},
                **{"email": email(order.user), "status": "pending", "reason": ""},
                **{"total_cents": order.total_cents, "currency": "EUR"},
                **{"card_last4": order.card[-4:], "idempotency_key": order.key},
                **{"created_at": now, "updated_at": now, "version": 1},
            }
        )
        for sku, quantity, price in order.lines:
            line = {"order_id": order.order_id, "sku": sku, "quantity": quantity}
            self.state["orders.lines"].append(line | {"price_cents": price})
            held = {"status": "held", "expires_at": now + 900, "updated_at": now}
            self.state["inventory.reservations"].append(line | held)
        self._move(order, "held", ON_HAND, RESERVED, now)
        self.state["orders.sagas"].append(
            {
                **{"order_id": order.order_id, "kind": "checkout", "state": "running", "step": 1},
                **{"direction": "forward", "attempts": 0, "reason": "", "cancel_requested": False},
                **{"traceparent": trace, "updated_at": now},
            }
        )
        self._change(order, "OrderPlaced", now, total_cents=order.total_cents)

    def log_saga(self, order: Bought, step: str, phase: str, now: float) -> None:
        self.state["orders.saga_log"].append(
            {
                "order_id": order.order_id,
                "seq": next(self._log),
                "step": step,
                "phase": phase,
                "at": now,
            }
        )

    def pay_and_ship(self, order: Bought, now: float) -> None:
        """The bank holds and captures the total, and the goods leave."""
        self._authorize(order, "captured", order.total_cents, now)
        for kind in ("authorize", "capture"):
            self._book(order, kind, now)
        self._move(order, "committed", RESERVED, SHIPPED, now)

    def decline(self, order: Bought, now: float) -> None:
        """The bank declines the card, and the goods are put back."""
        self._authorize(order, "declined", 0, now)
        self._move(order, "released", RESERVED, ON_HAND, now)

    def give_back(self, order: Bought, now: float) -> None:
        """The customer gets the money back, and the shop its goods."""
        for table, key in (("bank.authorizations", "reference"), ("payments.payments", "order_id")):
            row = next(each for each in self.state[table] if each[key] == order.order_id)
            row |= {"status": "refunded", "refunded_cents": order.total_cents}
        self._book(order, "refund", now)
        self._move(order, "returned", SHIPPED, ON_HAND, now)

    def end(
        self, order: Bought, status: str, now: float, reason: str = "", kind: str = "checkout"
    ) -> None:
        """The order's new status, the end of its saga, its event and its mail."""
        row = next(o for o in self.state["orders.orders"] if o["order_id"] == order.order_id)
        row |= {
            "status": status,
            "reason": reason,
            "updated_at": now,
            "version": row["version"] + 1,
        }
        saga = next(s for s in self.state["orders.sagas"] if s["order_id"] == order.order_id)
        ended = "done" if status == "confirmed" else "compensated"
        saga |= {"state": ended, "step": 4, "kind": kind, "updated_at": now}
        total = order.total_cents
        text = f"Your order {order.order_id} was cancelled: {reason.replace('_', ' ')}.\n"
        content: Row = {"reason": reason}
        if status == "confirmed":
            text = (
                f"Your order {order.order_id} is paid.\n\nTotal: {total // 100}.{total % 100:02}\n"
            )
            content = {"total_cents": total}
        event = f"Order{status.title()}"
        self._change(order, event, now, email=email(order.user), **content)
        self._mail(event, order.order_id, order.user, order.order_id, text, now)

    def _authorize(self, order: Bought, status: str, captured: int, now: float) -> None:
        authorization = f"auth-{order.order_id}"
        money: Row = {
            "amount_cents": order.total_cents,
            "currency": "EUR",
            "captured_cents": captured,
        }
        money |= {"refunded_cents": 0, "status": status, "authorization_id": authorization}
        money |= {"reason": "", "created_at": now}
        self.state["bank.authorizations"].append(
            money
            | {"reference": order.order_id, "card_last4": order.card[-4:]}
            | {"idempotency_key": f"pay-{order.order_id}:authorize"}
        )
        self.state["payments.payments"].append(
            money
            | {"payment_id": f"pay-{order.order_id}", "order_id": order.order_id}
            | {"user_id": user_id(order.user), "updated_at": now}
        )
        if status == "declined":
            self._call(order, "authorize", status, now)

    def _call(self, order: Bought, kind: str, status: str, now: float) -> None:
        call = {"order_id": order.order_id, "kind": kind, "key": f"pay-{order.order_id}:{kind}"}
        self.state["payments.operations"].append(call | {"status": status, "at": now})

    def _book(self, order: Bought, kind: str, now: float) -> None:
        """A call of payments, and its entry in the bank's ledger."""
        self._call(order, kind, "done", now)
        self.state["bank.ledger"].append(
            {
                **{"entry_id": next(self._entry), "authorization_id": f"auth-{order.order_id}"},
                **{"reference": order.order_id, "kind": kind, "amount_cents": order.total_cents},
                **{"idempotency_key": f"pay-{order.order_id}:{kind}", "at": now},
            }
        )

    def _move(self, order: Bought, status: str, source: str, target: str, now: float) -> None:
        for row in self.state["inventory.reservations"]:
            if row["order_id"] == order.order_id:
                row |= {"status": status, "updated_at": now}
                move(self.state, row["sku"], row["quantity"], source, target)

    def _change(self, order: Bought, kind: str, now: float, **content: Any) -> None:
        content = {"user_id": user_id(order.user)} | content
        self._publish("orders.outbox", kind, order.order_id, now, order.trace_id, **content)

    def _publish(
        self, table: str, kind: str, about: str, now: float, trace_id: str = "", **content: Any
    ) -> None:
        event_id = f"{kind}-{about}"
        payload = {"aggregate_id": about, "event_id": event_id} | content
        self.state[table].append(
            {
                **{"id": next(self._event), "event_id": event_id, "type": kind},
                **{"aggregate_id": about, "payload": json.dumps(payload)},
                **{"traceparent": f"00-{trace_id}-0000000000000002-01"},
                **{"created_at": now, "published_at": now + 0.02},
            }
        )

    def _mail(
        self, event: str, about: str, name: str, order_id: str | None, text: str, now: float
    ) -> None:
        """The event takes effect: a mail is stored, sent and received."""
        event_id = f"{event}-{about}"
        kind, subject = MAILS[event]
        self.state["notifications.inbox"].append(
            {"event_id": event_id, "handler": event, "processed_at": now + 0.05}
        )
        mail: Row = {
            "recipient": email(name),
            "subject": subject,
            "message_id": f"<{event_id}@shop>",
        }
        mail |= {"order_id": order_id}
        self.state["mail.messages"].append(mail | {"received_s": now + 0.1})
        mail |= {"notification_id": f"mail-{event_id}", "event_id": event_id, "kind": kind}
        mail |= {"user_id": user_id(name), "status": "sent", "body_text": text}
        self.state["notifications.mails"].append(
            mail | {"created_at": now + 0.05, "sent_at": now + 0.1}
        )


def move(state: dict[str, list[Row]], sku: str, quantity: int, source: str, target: str) -> None:
    """Move the units of a SKU between on_hand, reserved and shipped."""
    stock = next(row for row in state["inventory.stock"] if row["sku"] == sku)
    stock[source] -= quantity
    stock[target] += quantity
