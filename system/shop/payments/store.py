"""Payments in SQL. A status changes only from the status that the decision was based on."""

# ruff: noqa: S608 - the f-strings below insert constant lists of columns

from collections.abc import Set
from datetime import datetime

from asyncpg import Pool, Record

from chassis.http.idempotency import FROM_KNOWN, KNOWN, KeyUse
from shop.payments.domain import (
    ACCEPTED_IN,
    IN_DOUBT,
    Authorization,
    Operation,
    Outcome,
    Payment,
    Status,
)

_COLUMNS = """payment_id::text AS id, order_id::text, user_id::text, payments.status, amount_cents, currency,
              captured_cents, refunded_cents, authorization_id, reason"""

_GET = f"SELECT {_COLUMNS} FROM payments WHERE order_id = $1"
_GET_FOR_KEY = f"SELECT {KNOWN}, {_COLUMNS} {FROM_KNOWN} LEFT JOIN payments ON order_id = $3"
# a new payment and the record of its first call; nothing if the key has an answer
_BEGIN_NEW = """
WITH opened AS (
    INSERT INTO payments (order_id, payment_id, user_id, status, amount_cents, currency, created_at, updated_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $7
    WHERE NOT EXISTS (SELECT FROM idempotency WHERE scope = $10 AND key = $11)
    ON CONFLICT (order_id) DO NOTHING RETURNING order_id
)
INSERT INTO operations (order_id, kind, key, status, at)
SELECT order_id, $8, $9, 'asked', $7 FROM opened RETURNING operation_id
"""
_OPEN_VOIDED = f"""
INSERT INTO payments (order_id, payment_id, status, amount_cents, currency, created_at, updated_at)
VALUES ($1, $2, 'voided', 0, '', $3, $3) ON CONFLICT (order_id) DO NOTHING RETURNING {_COLUMNS}
"""
# the new status and the record of the call in one statement, so that every call is recorded
_BEGIN = """
WITH moved AS (
    UPDATE payments SET status = $3, updated_at = $6 WHERE order_id = $1 AND status = $2
    RETURNING order_id
)
INSERT INTO operations (order_id, kind, key, status, at)
SELECT order_id, $4, $5, 'asked', $6 FROM moved RETURNING operation_id
"""
_END = "UPDATE operations SET status = $2 WHERE operation_id = $1"
# ends the call and, if the payment is then in one of the states $11, stores the answer for the request's key
_SETTLE = f"""
WITH ended AS (UPDATE operations SET status = $9 WHERE operation_id = $8),
settled AS (UPDATE payments SET
    status = CASE WHEN status = ANY ($3) THEN $2 ELSE status END,
    authorization_id = coalesce(authorization_id, $4),
    -- two answers may arrive in another order than the bank sent them
    captured_cents = greatest(captured_cents, $5),
    refunded_cents = greatest(refunded_cents, $6),
    reason = CASE WHEN reason = '' THEN $7 ELSE reason END,
    updated_at = $10
WHERE order_id = $1 RETURNING {_COLUMNS}),
kept AS (
    INSERT INTO idempotency (scope, key, fingerprint, status, body)
    SELECT $12, $13::text, $14, $15::int, json_build_object(
        'id', id, 'order_id', order_id, 'status', status, 'amount_cents', amount_cents,
        'captured_cents', captured_cents, 'refunded_cents', refunded_cents, 'currency', currency)
    FROM settled WHERE $13::text IS NOT NULL AND status = ANY ($11)
    ON CONFLICT (scope, key) DO NOTHING RETURNING body
)
SELECT settled.*, (SELECT body FROM kept) AS answer FROM settled
"""
_CLAIM = f"""
UPDATE payments SET checked_at = $1 WHERE order_id IN (
    SELECT order_id FROM payments
    WHERE status = ANY ($2) AND updated_at < $3 AND (checked_at IS NULL OR checked_at < $3)
    ORDER BY updated_at LIMIT $4 FOR UPDATE SKIP LOCKED
) RETURNING {_COLUMNS}
"""
_IN_DOUBT = [status.value for status in IN_DOUBT]


class PaymentStore:
    """The protocol `Store` on PostgreSQL. Each method is one statement, so one transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, order_id: str, use: KeyUse | None = None) -> Payment | None:
        if use is None:
            row = await self._pool.fetchrow(_GET, order_id)
            return _payment(row) if row else None
        row = use.replay(await self._pool.fetchrow(_GET_FOR_KEY, use.scope, use.key, order_id))
        return _payment(row) if row["id"] else None

    async def begin_new(
        self, payment: Payment, operation: Operation, key: str, now: datetime, use: KeyUse | None
    ) -> int | None:
        call_id: int | None = await self._pool.fetchval(
            _BEGIN_NEW, payment.order_id, payment.id, payment.user_id, payment.status.value,
            payment.amount_cents, payment.currency, now, operation.value, key,
            use and use.scope, use and use.key,
        )  # fmt: skip
        return call_id

    async def open_voided(self, order_id: str, payment_id: str, now: datetime) -> Payment:
        row = await self._pool.fetchrow(_OPEN_VOIDED, order_id, payment_id, now)
        row = row or await self._pool.fetchrow(_GET, order_id)
        assert row is not None, "payments are never deleted"
        return _payment(row)

    async def begin(
        self, payment: Payment, operation: Operation, during: Status, key: str, now: datetime
    ) -> int | None:
        call_id: int | None = await self._pool.fetchval(
            _BEGIN, payment.order_id, payment.status.value, during.value, operation.value, key, now
        )
        return call_id

    async def end(self, call_id: int, outcome: Outcome) -> None:
        await self._pool.execute(_END, call_id, outcome.value)

    async def settle(
        self,
        order_id: str,
        status: Status,
        answer: Authorization | None,
        now: datetime,
        call: tuple[int, Outcome] | None = None,
        ends: Set[Status] = frozenset(),
        use: KeyUse | None = None,
    ) -> Payment:
        answer = answer or Authorization("", "")
        call_id, outcome = call or (None, None)
        of_use = (use.scope, use.key, use.fingerprint, use.status) if use else (None,) * 4
        row = await self._pool.fetchrow(
            _SETTLE, order_id, status.value, [state.value for state in ACCEPTED_IN[status]],
            answer.id or None, answer.captured_cents, answer.refunded_cents, answer.reason,
            call_id, outcome, now, [state.value for state in ends], *of_use,
        )  # fmt: skip
        assert row is not None, "payments are never deleted"
        if use:
            use.answered(row["answer"])
        return _payment(row)

    async def may_have_reached_bank(self, order_id: str, operation: Operation) -> bool:
        found: bool = await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM operations"
            " WHERE order_id = $1 AND kind = $2 AND status <> 'not_sent')",
            order_id, operation.value,
        )  # fmt: skip
        return found

    async def claim_in_doubt(self, before: datetime, now: datetime, limit: int) -> list[Payment]:
        """Payments in doubt since `before`. Each goes to one reconciler only."""
        return [
            _payment(row) for row in await self._pool.fetch(_CLAIM, now, _IN_DOUBT, before, limit)
        ]

    async def in_doubt(self) -> int:
        """The number of payments in doubt."""
        count: int = await self._pool.fetchval(
            "SELECT count(*) FROM payments"
            " WHERE status IN ('authorizing', 'capturing', 'voiding', 'refunding')"
        )
        return count


def _payment(row: Record) -> Payment:
    return Payment(
        row["id"], row["order_id"], row["user_id"], Status(row["status"]), row["amount_cents"],
        row["currency"], row["captured_cents"], row["refunded_cents"], row["authorization_id"],
        row["reason"],
    )  # fmt: skip
