"""Orders, their sagas and their events in PostgreSQL."""

# ruff: noqa: S608 - the f-strings below insert parts of statements that are constants

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncpg import Pool, Record

from chassis.http.idempotency import fingerprint
from chassis.messaging.outbox import Outbox, insert_events
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose
from contracts.events import OrderCancelled, OrderConfirmed, OrderPlaced
from shop.orders.domain import Line, Order
from shop.orders.saga import Ended, Progress

OUTCOMES = counter("saga_outcomes", "Sagas that this instance ended", ("outcome", "reason"))
DURATION_SECONDS = Histogram(
    "saga_duration_seconds", "Time from an order's arrival to the end of its saga", ("outcome",)
)
LEASE = timedelta(seconds=3)  # longer than a step (clients.STEP_S)

_SELECT = """
SELECT o.*, (SELECT json_agg(json_build_array(l.sku, l.quantity, l.price_cents) ORDER BY l.sku)
             FROM order_lines l WHERE l.order_id = o.order_id)::text AS lines
FROM orders o
"""
# Each of the next three is one statement: it is atomic without BEGIN and COMMIT.
# Arrays are of texts, which asyncpg knows: for arrays of numbers it reads the types on each new connection (5 ms).
_PLACE = f"""
WITH fresh AS (
    INSERT INTO orders (order_id, user_id, email, status, total_cents, currency, card_number,
                        idempotency_key, dedupe_key, fingerprint)
    VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9)
    ON CONFLICT (dedupe_key) DO NOTHING RETURNING order_id, created_at
), lines AS (
    INSERT INTO order_lines (order_id, sku, quantity, price_cents)
    SELECT order_id, sku, quantity::int, price_cents::bigint
    FROM fresh, unnest($10::text[], $11::text[], $12::text[]) AS line (sku, quantity, price_cents)
), saga AS (
    INSERT INTO sagas (order_id, started, owner, lease_until, deadline_at, traceparent)
    SELECT order_id, true, $13, now() + $14, now() + $15, $16 FROM fresh
), logged AS (
    INSERT INTO saga_log (order_id, step, phase) SELECT order_id, $17, 'started' FROM fresh
), events AS (
    {insert_events(18, "fresh")}
)
SELECT created_at FROM fresh
"""
# The saga's row (fenced by owner and state) and the log lines.
_PERSIST = """
WITH moved AS (
    UPDATE sagas SET at = $3, direction = $4, started = $5, attempts = $6, reason = $7,
        lease_until = now() + $8, next_at = now() + $9, updated_at = now()
    WHERE order_id = $1 AND owner = $2 AND state = 'running'
    RETURNING order_id, cancel_requested
), logged AS (
    INSERT INTO saga_log (order_id, step, phase)
    SELECT moved.order_id, l.step, l.phase FROM moved, unnest($10::text[], $11::text[]) AS l(step, phase)
)
SELECT cancel_requested FROM moved
"""
# An order that was confirmed although its customer has asked to cancel it begins its cancellation.
_FINISH = f"""
WITH moved AS (
    UPDATE sagas SET direction = $4, started = false, attempts = 0, lease_until = now() + $6,
        next_at = now(), updated_at = now(),
        kind = CASE WHEN $9 = 'confirmed' AND cancel_requested THEN 'cancellation' ELSE kind END,
        state = CASE WHEN $9 <> 'confirmed' THEN 'compensated'
                     WHEN cancel_requested THEN 'running' ELSE 'done' END,
        at = CASE WHEN $9 = 'confirmed' AND cancel_requested THEN 0 ELSE $3 END,
        reason = CASE WHEN $9 = 'confirmed' AND cancel_requested THEN 'customer' ELSE $5 END,
        traceparent = CASE WHEN $9 = 'confirmed' AND cancel_requested THEN '' ELSE traceparent END
    WHERE order_id = $1 AND owner = $2 AND state = 'running'
    RETURNING order_id, state
), logged AS (
    INSERT INTO saga_log (order_id, step, phase)
    SELECT moved.order_id, l.step, l.phase FROM moved, unnest($7::text[], $8::text[]) AS l(step, phase)
), ended AS (
    UPDATE orders SET status = $9, reason = $10, updated_at = now(), version = version + 1,
        card_number = '************' || right(card_number, 4),
        answer = coalesce(answer, json_build_object(
            'status', $9::text, 'reason', $10::text, 'version', version + 1, 'updated_at', now())::text)
    FROM moved WHERE orders.order_id = moved.order_id
    RETURNING status, orders.reason, card_number, updated_at, version
), events AS (
    {insert_events(11, "moved")}
)
SELECT ended.*, moved.state = 'running' AS cancelling FROM moved, ended
"""
_CLAIM = """
UPDATE sagas SET owner = $1, lease_until = now() + $2
WHERE order_id IN (
    SELECT order_id FROM sagas WHERE state = 'running' AND next_at <= now() AND lease_until < now()
    ORDER BY deadline_at < now(), deadline_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING order_id, traceparent
"""
_COUNT_PENDING = """
SELECT count(*) AS pending, count(*) FILTER (WHERE due) AS due,
    count(*) FILTER (WHERE due AND deadline_at BETWEEN now() AND now() + $1) AS near_deadline
FROM (SELECT deadline_at, next_at <= now() AND lease_until < now() AS due FROM sagas WHERE state = 'running')
    AS running
"""
_REQUEST_CANCEL = """
UPDATE sagas SET cancel_requested = true, updated_at = now() WHERE order_id = $1 AND state = 'running'
"""
_BEGIN_CANCELLATION = """
UPDATE sagas SET kind = 'cancellation', state = 'running', at = 0, direction = 'forward', started = false,
    attempts = 0, reason = 'customer', owner = $2, lease_until = now() + $3, next_at = now(),
    traceparent = $4, updated_at = now()
WHERE order_id = $1 AND state = 'done'
"""


class OrderStore:
    """`owner` is this instance. Only the owner of its lease changes a saga."""

    def __init__(
        self,
        pool: Pool,
        outbox: Outbox,
        owner: str,
        *,
        saga_deadline_s: float,
        idempotency: bool = True,
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._owner = owner
        self._deadline = timedelta(seconds=saga_deadline_s)
        self._idempotency = idempotency
        # start at zero: Prometheus sees no increase in a series that starts at one
        OUTCOMES.labels("confirmed", "")
        expose(OUTCOMES, DURATION_SECONDS)

    # -- orders -----------------------------------------------------------------------------

    async def place(self, order: Order, key: str, body: Any, traceparent: str) -> Progress | None:
        """Insert the order, its saga with the first step begun, and OrderPlaced.

        None if this user used the key before.
        """
        lines, saga = order.lines, Progress(order)
        placed = OrderPlaced(
            aggregate_id=order.id, user_id=order.user_id, total_cents=order.total_cents
        )
        row = await self._outbox.fetchrow(
            _PLACE, order.id, order.user_id, order.email, order.total_cents, order.currency,
            order.card_number, key, self._dedupe(order.user_id, key), fingerprint(body),
            [line.sku for line in lines], [str(line.quantity) for line in lines],
            [str(line.price_cents) for line in lines], self._owner, LEASE, self._deadline, traceparent,
            saga.steps[0].name, events=[placed],
        )  # fmt: skip
        if row is None:
            return None
        order = replace(order, created_at=row["created_at"], updated_at=row["created_at"])
        return replace(saga, order=order, started=True, stored=True)

    async def by_key(self, user_id: str, key: str) -> tuple[Order, str] | None:
        """The order placed with this key, as first answered, and the fingerprint of its body."""
        row = await self._pool.fetchrow(
            _SELECT + "WHERE o.dedupe_key = $1", self._dedupe(user_id, key)
        )
        if row is None:
            return None
        order = _order(row)
        if row["answer"]:
            # the first answer, even if the order has changed since
            answer = json.loads(row["answer"])
            answer["updated_at"] = datetime.fromisoformat(answer["updated_at"])
            order = replace(order, **answer)
        return order, row["fingerprint"]

    async def get(self, order_id: str) -> Order | None:
        row = await self._pool.fetchrow(_SELECT + "WHERE o.order_id = $1", order_id)
        return _order(row) if row else None

    async def list_of(self, user_id: str, limit: int, before: str | None) -> list[Order]:
        """A user's orders, newest first (ids are UUIDv7, so they sort by time)."""
        rows = await self._pool.fetch(
            _SELECT + "WHERE o.user_id = $1 AND ($2::text IS NULL OR o.order_id < $2) "
            "ORDER BY o.order_id DESC LIMIT $3",
            user_id, before, limit,
        )  # fmt: skip
        return [_order(row) for row in rows]

    async def cancel(self, order: Order, traceparent: str) -> Progress | None:
        """Request the compensation of a running saga, or begin the cancellation of a confirmed order.

        `order` may have changed since it was read. Returns the cancellation that this instance must run.
        """
        if order.status == "pending" and await self._changed(_REQUEST_CANCEL, order.id):
            return None
        if await self._changed(_BEGIN_CANCELLATION, order.id, self._owner, LEASE, traceparent):
            return Progress(order, "cancellation", reason="customer")
        return None

    async def _changed(self, update: str, *args: Any) -> bool:
        return str(await self._pool.execute(update, *args)) == "UPDATE 1"

    def _dedupe(self, user_id: str, key: str) -> str | None:
        return f"{user_id}/{key}" if self._idempotency else None

    # -- sagas ------------------------------------------------------------------------------

    async def persist(self, progress: Progress, *, park_s: float | None = None) -> Progress | None:
        """Store the saga's state; None if another instance holds the lease.

        `park_s` releases the lease and makes the saga due after that many seconds.
        """
        lease = LEASE if park_s is None else timedelta(0)
        row = await self._pool.fetchrow(
            _PERSIST, progress.order.id, self._owner, progress.at, progress.direction, progress.started,
            progress.attempts, progress.reason, lease, timedelta(seconds=park_s or 0),
            [step for step, _ in progress.log], [phase for _, phase in progress.log],
        )  # fmt: skip
        if row is None:
            return None
        return replace(progress, log=(), stored=True, cancel_requested=row["cancel_requested"])

    async def finish(self, progress: Progress) -> Ended | None:
        """End the saga and its order, with the event; None if another instance holds the lease."""
        order = progress.order
        confirmed = progress.kind == "checkout" and progress.direction == "forward"
        reason = "" if confirmed else progress.reason or "customer"
        event: OrderConfirmed | OrderCancelled
        if confirmed:
            event = OrderConfirmed(
                aggregate_id=order.id, user_id=order.user_id, email=order.email,
                total_cents=order.total_cents,
            )  # fmt: skip
        else:
            event = OrderCancelled(
                aggregate_id=order.id, user_id=order.user_id, email=order.email, reason=reason
            )
        outcome = "confirmed" if confirmed else "cancelled"
        row = await self._outbox.fetchrow(
            _FINISH, order.id, self._owner, progress.at, progress.direction, progress.reason, LEASE,
            [step for step, _ in progress.log], [phase for _, phase in progress.log],
            outcome, reason, events=[event],
        )  # fmt: skip
        if row is None:
            return None
        OUTCOMES.labels(outcome, reason).inc()
        if progress.kind == "checkout" and order.created_at is not None:
            age = datetime.now(UTC) - order.created_at
            DURATION_SECONDS.labels(outcome).observe(age.total_seconds())
        changes = dict(row)
        cancelling = changes.pop("cancelling")
        order = replace(order, **changes)
        return Ended(
            order, Progress(order, "cancellation", reason="customer") if cancelling else None
        )

    async def claim(self, limit: int) -> list[tuple[str, str]]:
        """Take the lease of up to `limit` due sagas without an owner; returns (order id, traceparent).

        The nearest deadline comes first. Sagas past their deadline come last.
        """
        rows = await self._pool.fetch(_CLAIM, self._owner, LEASE, limit)
        return [(row["order_id"], row["traceparent"]) for row in rows]

    async def load(self, order_id: str) -> Progress | None:
        """The saga of the order if it is running."""
        saga = await self._pool.fetchrow(
            "SELECT *, deadline_at < now() AS overdue FROM sagas WHERE order_id = $1 AND state = 'running'",
            order_id,
        )
        order = await self.get(order_id)
        if saga is None or order is None:
            return None
        return Progress(
            order, saga["kind"], saga["at"], saga["direction"], saga["started"], saga["attempts"],
            saga["reason"], saga["cancel_requested"], saga["overdue"],
        )  # fmt: skip

    async def count_pending(self, near_deadline_s: float) -> tuple[int, int, int]:
        """(sagas that have not ended, those due and without an owner, those of these near their deadline)."""
        (row,) = await self._pool.fetch(_COUNT_PENDING, timedelta(seconds=near_deadline_s))
        return row["pending"], row["due"], row["near_deadline"]


def _order(row: Record) -> Order:
    return Order(
        id=row["order_id"],
        user_id=row["user_id"],
        email=row["email"],
        lines=tuple(Line(*line) for line in json.loads(row["lines"])),
        card_number=row["card_number"],
        status=row["status"],
        reason=row["reason"],
        currency=row["currency"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
        total_cents=row["total_cents"],
    )
