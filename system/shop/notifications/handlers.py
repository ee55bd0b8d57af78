"""Consumed events: each handler stores one mail in the inbox transaction."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chassis.messaging.event import Event
from chassis.messaging.inbox import Handler
from chassis.postgres.connection import Conn
from chassis.telemetry import signals
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import Mail, order_cancelled, order_confirmed, welcome
from shop.notifications.store import MailStore


def handlers(store: MailStore, now: Callable[[], datetime]) -> dict[type[Event], Handler]:
    """The handler of each event. An event whose mail cannot be composed becomes a dead letter."""

    def stores(compose: Callable[[Any], Mail]) -> Handler:
        async def handle(conn: Conn, event: Any) -> None:
            traceparent = signals.trace_headers().get("traceparent", "")
            await store.put(conn, compose(event), traceparent=traceparent, now=now())

        return handle

    return {
        UserRegistered: stores(welcome),
        OrderConfirmed: stores(order_confirmed),
        OrderCancelled: stores(order_cancelled),
    }
