"""Consumed events: each stores one mail, together with its record in the inbox."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chassis.messaging.effects import Rows
from chassis.messaging.event import Event
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import Mail, order_cancelled, order_confirmed, welcome
from shop.notifications.store import PUT, MailRow


def handlers(
    now: Callable[[], datetime], stored: Callable[[list[MailRow]], None]
) -> dict[type[Event], Rows]:
    """The handler of each event. An event whose mail cannot be composed becomes a dead letter."""

    def stores(compose: Callable[[Any], Mail]) -> Rows:
        def row(event: Any, traceparent: str) -> MailRow:
            return MailRow.of(compose(event), traceparent=traceparent, now=now())

        return Rows(PUT, row, stored)

    return {
        UserRegistered: stores(welcome),
        OrderConfirmed: stores(order_confirmed),
        OrderCancelled: stores(order_cancelled),
    }
