"""Consumed events: each stores one mail, together with its record in the inbox."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from chassis.messaging.effects import Rows
from chassis.messaging.event import Event
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import Mail, order_cancelled, order_confirmed, welcome
from shop.notifications.store import PUT, mail_row


def handlers(now: Callable[[], datetime], stored: Callable[[int], None]) -> dict[type[Event], Rows]:
    """The handler of each event. An event whose mail cannot be composed becomes a dead letter."""

    def stores(compose: Callable[[Any], Mail]) -> Rows:
        def row(event: Any, traceparent: str) -> Sequence[Any]:
            return mail_row(compose(event), traceparent=traceparent, now=now())

        return Rows(PUT, row, stored)

    return {
        UserRegistered: stores(welcome),
        OrderConfirmed: stores(order_confirmed),
        OrderCancelled: stores(order_cancelled),
    }
