"""Consumed events: each writes its mail down, in the transaction of the inbox."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from chassis.http.idempotency import Conn
from chassis.messaging.event import Event
from chassis.telemetry import signals
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import Mail, order_cancelled, order_confirmed, welcome
from shop.notifications.store import MailStore

Handler = Callable[[Conn, Any], Awaitable[None]]


def handlers(store: MailStore, now: Callable[[], datetime]) -> dict[type[Event], Handler]:
    """The handler of each event. A mail that cannot be written sends its event to the dead letters."""

    def writes(compose: Callable[[Any], Mail]) -> Handler:
        async def handle(conn: Conn, event: Any) -> None:
            traceparent = signals.trace_headers().get("traceparent", "")
            await store.put(conn, compose(event), traceparent=traceparent, now=now())

        return handle

    return {
        UserRegistered: writes(welcome),
        OrderConfirmed: writes(order_confirmed),
        OrderCancelled: writes(order_cancelled),
    }
