"""Events to mails: one row an event, in the transaction that remembers the event."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chassis import telemetry
from chassis.idempotency import Conn
from chassis.messaging.event import Event
from chassis.messaging.inbox import Handler
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import Mail, cancellation, confirmation, welcome
from shop.notifications.sender import Sender
from shop.notifications.store import MailStore

WRITERS: dict[type[Event], Callable[[Any], Mail]] = {
    UserRegistered: welcome,
    OrderConfirmed: confirmation,
    OrderCancelled: cancellation,
}


def handlers(store: MailStore, sender: Sender) -> dict[type[Event], Handler]:
    """A handler for each event that is written about."""

    def handler(write: Callable[[Any], Mail]) -> Handler:
        async def handle(conn: Conn, event: Event) -> None:
            # the mail belongs to the trace of the event that caused it
            traceparent = telemetry.trace_headers().get("traceparent", "")
            await store.add(conn, replace(write(event), traceparent=traceparent))
            sender.hint()

        return handle

    return {event: handler(write) for event, write in WRITERS.items()}
