"""Planted bugs in the reads of customers."""

from bench.mutants_table.mutant import Mutant

KIND = "reads"
MUTANTS = (
    Mutant(
        "foreign_order_readable",
        KIND,
        "A customer who knows its id reads, and cancels, another customer's order.",
        "shop/orders/checkout.py",
        "if order.user_id != user_id:",
        "if not user_id:",
    ),
    Mutant(
        "foreign_mails_readable",
        KIND,
        "A customer who knows the order's id reads the list of another customer's mails.",
        "shop/notifications/store.py",
        "fetch(_OF_ORDER, order_id, user_id)",
        'fetch(_OF_ORDER.replace("user_id = $2", "$2 <> \'\'"), order_id, user_id)',
    ),
    Mutant(
        "foreign_orders_in_list",
        KIND,
        "The list of a customer's orders contains orders of other customers.",
        "shop/orders/store.py",
        '"WHERE o.user_id = $1 AND',
        '"WHERE o.user_id >= $1 AND',
    ),
    Mutant(
        "stale_ended_order",
        KIND,
        "An instance that has once read an ended order never sees a later cancellation of it.",
        "shop/orders/store.py",
        """    async def get(self, order_id: str) -> Order | None:
        row = await self._pool.fetchrow(_SELECT + "WHERE o.order_id = $1", order_id)
        return _order(row) if row else None
""",
        """    async def get(self, order_id: str, _ended: dict[str, Order] = {}) -> Order | None:
        if order_id in _ended:
            return _ended[order_id]
        row = await self._pool.fetchrow(_SELECT + "WHERE o.order_id = $1", order_id)
        if row and row["status"] != "pending":
            _ended[order_id] = _order(row)
        return _order(row) if row else None
""",
    ),
    Mutant(
        "order_vanishes",
        KIND,
        "An order can be read for ten seconds, and then there is no such order.",
        "shop/orders/store.py",
        """(_SELECT + "WHERE o.order_id = $1", order_id)""",
        """(
            _SELECT + "WHERE o.order_id = $1 AND o.created_at > now() - interval '10 seconds'", order_id
        )""",
    ),
    Mutant(
        "list_without_newest",
        KIND,
        "The list of a customer's orders leaves out orders that are younger than five seconds.",
        "shop/orders/store.py",
        '"WHERE o.user_id = $1 AND',
        "\"WHERE o.user_id = $1 AND o.created_at < now() - interval '5 seconds' AND",
    ),
)
