"""Every event of the shop, defined once. `aggregate_id` is the id of the order or the user."""

from chassis.messaging.event import Event


class UserRegistered(Event):
    """A user registered. `aggregate_id` is the user's id."""

    email: str
    name: str


class OrderPlaced(Event):
    """A user placed an order, and its saga began."""

    user_id: str
    total_cents: int


class OrderConfirmed(Event):
    """An order was paid, and its goods were shipped."""

    user_id: str
    email: str
    total_cents: int


class OrderCancelled(Event):
    """An order was cancelled, for the reason in `reason`."""

    user_id: str
    email: str
    reason: str


EVENTS: dict[str, type[Event]] = {
    event.__name__: event for event in (UserRegistered, OrderPlaced, OrderConfirmed, OrderCancelled)
}
