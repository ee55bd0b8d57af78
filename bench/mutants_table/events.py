"""Planted bugs in the events of the shop."""

from bench.mutants_table.mutant import Mutant

KIND = "events"
MUTANTS = (
    Mutant(
        "cancelled_without_event",
        KIND,
        "An order is cancelled without an OrderCancelled event.",
        "shop/orders/store.py",
        "events=[event],",
        "events=[event] if confirmed else [],",
    ),
    Mutant(
        "placed_without_event",
        KIND,
        "An order with several lines is placed without an OrderPlaced event.",
        "shop/orders/store.py",
        "events=[placed],",
        "events=[placed] if len(lines) == 1 else [],",
    ),
    Mutant(
        "placed_event_twice",
        KIND,
        "Every OrderPlaced event is published twice, with two event ids.",
        "shop/orders/store.py",
        "events=[placed],",
        'events=[placed, OrderPlaced(**placed.model_dump(exclude={"event_id"}))],',
    ),
    Mutant(
        "confirmed_event_twice",
        KIND,
        "The confirmation of an order is published twice with two event ids, so that the customer gets two mails.",
        "shop/orders/store.py",
        "events=[event],",
        """events=[
                event, *([OrderConfirmed(**event.model_dump(exclude={"event_id"}))] if confirmed else [])
            ],""",
    ),
    Mutant(
        "event_names_the_user",
        KIND,
        "OrderPlaced carries the user's id where the order's id belongs.",
        "shop/orders/store.py",
        "aggregate_id=order.id, user_id=order.user_id, total_cents=order.total_cents\n",
        "aggregate_id=order.user_id, user_id=order.user_id, total_cents=order.total_cents\n",
    ),
    Mutant(
        "event_before_commit",
        KIND,
        "Each event is published before its transaction commits, and stays published if the change"
        " is rolled back.",
        "chassis/messaging/outbox.py",
        """        # same statement as the change, or an event can be lost
""",
        """        for event in events:
            traceparent = signals.trace_headers().get("traceparent", "")
            await self._publish(event.type, event.event_id, event.model_dump_json(), traceparent)
""",
        "database_killed",
    ),
)
