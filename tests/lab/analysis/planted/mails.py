"""Planted bugs of mails."""

from __future__ import annotations

from tests.lab.analysis.planted.state import (
    Planted,
    State,
    cancelled,
    change,
    confirmed,
    event_of,
    forget,
    of,
    planted,
)


def mail_never_sent(state: State) -> None:
    change(state, "notifications.mails", confirmed(state), status="failed", sent_at=None)


def mail_received_twice(state: State) -> None:
    message = of(state, "mail.messages", confirmed(state))[0]
    state["mail.messages"].append(dict(message))


def mail_to_another_customer(state: State) -> None:
    """Stored, sent and received for a customer who did not place the order."""
    order = confirmed(state)
    other = next(u for u in state["users.users"] if u["user_id"] != order["user_id"])
    for table in ("notifications.mails", "mail.messages"):
        change(state, table, order, recipient=other["email"])


def mail_received_by_another_customer(state: State) -> None:
    change(state, "mail.messages", confirmed(state), recipient="other@example.com")


def mail_names_another_order(state: State) -> None:
    change(state, "mail.messages", confirmed(state), order_id="another")


def mail_with_another_total(state: State) -> None:
    mail = of(state, "notifications.mails", confirmed(state))[0]
    mail["body_text"] = mail["body_text"].replace("Total: ", "Total: 1")


def mail_never_stored(state: State) -> None:
    message = of(state, "mail.messages", confirmed(state))[0]
    state["mail.messages"].append(message | {"message_id": "<unknown@shop>"})


def no_cancellation_mail(state: State) -> None:
    event = event_of(state, cancelled(state), "OrderCancelled")["event_id"]
    forget(state, event, "notifications.mails", "mail.messages")


PLANTED: dict[str, Planted] = {
    "mail_never_sent": planted(9, mail_never_sent),
    "mail_received_twice": planted(9, mail_received_twice),
    "mail_to_another_customer": planted(17, mail_to_another_customer),
    "mail_received_by_another_customer": planted(17, mail_received_by_another_customer),
    "mail_names_another_order": planted(17, mail_names_another_order),
    "mail_with_another_total": planted(17, mail_with_another_total),
    "mail_never_stored": planted(17, mail_never_stored),
    "no_cancellation_mail": planted(18, no_cancellation_mail),
}
