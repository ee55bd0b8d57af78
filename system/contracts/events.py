"""Every event of the shop, defined once. `aggregate_id` is the id of the order or the user."""

from chassis.messaging.event import Event


class UserRegistered(Event):
    email: str
    name: str


class OrderPlaced(Event):
    user_id: str
    total_cents: int


class OrderConfirmed(Event):
    user_id: str
    email: str
    total_cents: int


class OrderCancelled(Event):
    user_id: str
    email: str
    reason: str


EVENTS: dict[str, type[Event]] = {
    event.__name__: event for event in (UserRegistered, OrderPlaced, OrderConfirmed, OrderCancelled)
}
