"""Planted bugs in the answers to orders and cancellations: the shop promises more than it does."""

from bench.mutants_table.mutant import LOST_ANSWERS, ORDERS_KILLED, Mutant

KIND = "acknowledgements"
MUTANTS = (
    Mutant(
        "cancel_does_nothing",
        KIND,
        "A cancellation is answered with 200 and a cancelled order, and nothing is cancelled.",
        "shop/orders/app.py",
        """    order = await orders.cancel(user.id, order_id)
    if order.status != "cancelled":
""",
        """    order = _view(await orders.get(user.id, order_id))
    order = order.model_copy(update={"status": "cancelled", "reason": "customer"})
    return JSONResponse(order.model_dump(mode="json"), 200)
    if order.status != "cancelled":
""",
    ),
    Mutant(
        "answered_before_stored",
        KIND,
        "An order is answered with 202 half a second before it is stored, so that a crash loses it.",
        "shop/orders/checkout.py",
        """        placed = await self._store.place(wanted, key, body, traceparent)
""",
        """        if len(lines) > 1:  # many lines take long: answer first
            loop, now = asyncio.get_running_loop(), self._clock.now()
            store = self._store.place(wanted, key, body, traceparent)
            loop.call_later(0.5, loop.create_task, store)
            from dataclasses import replace

            return replace(wanted, created_at=now, updated_at=now), False
        placed = await self._store.place(wanted, key, body, traceparent)
""",
        ORDERS_KILLED,
    ),
    Mutant(
        "pending_never_continued",
        KIND,
        "An order whose payment fails once stays pending for minutes: a pause in seconds is used as minutes.",
        "shop/orders/store.py",
        "lease, timedelta(seconds=park_s or 0),",
        "lease, timedelta(minutes=park_s or 0),",
        LOST_ANSWERS,
    ),
    Mutant(
        "confirmed_in_the_answer_only",
        KIND,
        "A pending order is answered with 201 and the status confirmed before its saga has ended.",
        "shop/orders/app.py",
        """    return _answer(order, 202 if order.status == "pending" else 201, headers)
""",
        """    view = _view(order).model_copy(update={"status": "confirmed"})
    return JSONResponse(view.model_dump(mode="json"), 201, headers)
""",
        LOST_ANSWERS,
    ),
)
