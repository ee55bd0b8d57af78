"""Planted bugs of events."""

from __future__ import annotations

from tests.lab.analysis.planted.state import (
    Planted,
    State,
    cancelled,
    change_payload,
    confirmed,
    declined,
    event_of,
    forget,
    planted,
)


def lost_outbox_row(state: State) -> None:
    """The event is committed and never published, so no mail was sent."""
    event = event_of(state, confirmed(state), "OrderConfirmed")
    event["published_at"] = None
    forget(state, event["event_id"])


def event_processed_never(state: State) -> None:
    forget(state, event_of(state, confirmed(state), "OrderConfirmed")["event_id"])


def event_mailed_twice(state: State) -> None:
    event = event_of(state, confirmed(state), "OrderConfirmed")["event_id"]
    mail = next(row for row in state["notifications.mails"] if row["event_id"] == event)
    again = {"notification_id": "again", "message_id": None, "status": "pending"}
    state["notifications.mails"].append(mail | again)


def events_out_of_order(state: State) -> None:
    """The second event of a cancelled order took effect before its first event."""
    order = declined(state)
    event = event_of(state, order, "OrderCancelled")["event_id"]
    done = next(row for row in state["notifications.inbox"] if row["event_id"] == event)
    state["notifications.inbox"].append(
        {"event_id": event_of(state, order, "OrderPlaced")["event_id"], "handler": "OrderPlaced",
         "processed_at": done["processed_at"] + 5.0}
    )  # fmt: skip


def placed_without_event(state: State) -> None:
    forget(state, event_of(state, confirmed(state), "OrderPlaced")["event_id"], "orders.outbox")


def cancelled_without_event(state: State) -> None:
    event = event_of(state, cancelled(state), "OrderCancelled")["event_id"]
    forget(state, event, "orders.outbox")
    forget(state, event)


def placed_event_twice(state: State) -> None:
    event = event_of(state, confirmed(state), "OrderPlaced") | {"event_id": "again"}
    change_payload(event, event_id="again")
    state["orders.outbox"].append(event)


def event_with_another_total(state: State) -> None:
    change_payload(event_of(state, confirmed(state), "OrderConfirmed"), total_cents=1)


def event_names_the_user(state: State) -> None:
    event = event_of(state, confirmed(state), "OrderPlaced")
    event["aggregate_id"] = confirmed(state)["user_id"]


def event_never_committed(state: State) -> None:
    done = next(row for row in state["notifications.inbox"] if row["handler"] == "OrderConfirmed")
    state["notifications.inbox"].append(done | {"event_id": "rolled-back"})


PLANTED: dict[str, Planted] = {
    "lost_outbox_row": planted(5, lost_outbox_row),
    "event_processed_never": planted(5, event_processed_never),
    "event_mailed_twice": planted(5, event_mailed_twice),
    "events_out_of_order": planted(5, events_out_of_order),
    "placed_without_event": planted(15, placed_without_event),
    "cancelled_without_event": planted(15, cancelled_without_event, 18),
    "placed_event_twice": planted(15, placed_event_twice),
    "event_with_another_total": planted(15, event_with_another_total),
    "event_names_the_user": planted(15, event_names_the_user),
    "event_never_committed": planted(16, event_never_committed),
}
