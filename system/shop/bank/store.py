"""The bank's ledger in SQL: each operation and its entry in one transaction, once per key."""

# ruff: noqa: S608 - the f-strings below insert constant lists of columns

from datetime import datetime

from asyncpg import Pool, Record

from chassis.faults import failpoint
from chassis.ids import new_id
from chassis.postgres.connection import Conn
from shop.bank.domain import (
    Authorization,
    AuthorizationNotFoundError,
    Kind,
    ReferenceCancelledError,
    Status,
    apply,
    decline_reason,
)

_COLUMNS = """authorization_id::text AS id, reference, status, amount_cents, captured_cents,
              refunded_cents, reason"""

# inserts an authorization and, unless it is declined, its ledger entry; nothing if the key is known
_AUTHORIZE = f"""
WITH made AS (
    INSERT INTO authorizations (authorization_id, reference, idempotency_key, status, amount_cents,
                                currency, card_last4, reason, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
    WHERE NOT EXISTS (SELECT FROM cancelled_references WHERE reference = $2)
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING *
), entry AS (
    INSERT INTO ledger (authorization_id, reference, kind, amount_cents, idempotency_key, at)
    SELECT authorization_id, reference, 'authorize', amount_cents, $3, $9
    FROM made WHERE status = 'authorized'
)
SELECT {_COLUMNS} FROM made
"""

_BY_KEY = f"SELECT {_COLUMNS} FROM authorizations WHERE idempotency_key = $1"
_BY_REFERENCE = (
    f"SELECT {_COLUMNS} FROM authorizations WHERE reference = $1 ORDER BY authorization_id"
)
_LOCKED = f"""
SELECT {_COLUMNS}, EXISTS (SELECT FROM ledger l WHERE l.authorization_id = a.authorization_id
                           AND l.idempotency_key = $2) AS known
FROM authorizations a WHERE authorization_id = $1
"""
_MOVE = """
WITH moved AS (
    UPDATE authorizations SET status = $2, captured_cents = $3, refunded_cents = $4
    WHERE authorization_id = $1 RETURNING *
)
INSERT INTO ledger (authorization_id, reference, kind, amount_cents, idempotency_key, at)
SELECT authorization_id, reference, $5, amount_cents, $6, $7 FROM moved
"""


class Ledger:
    """Every method that writes runs in the caller's transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def authorize(
        self,
        conn: Conn,
        *,
        reference: str,
        amount_cents: int,
        currency: str,
        card_number: str,
        key: str,
        now: datetime,
    ) -> Authorization:
        """Hold the amount, or decline the card (status declined). Raises ReferenceCancelledError."""
        # serialises with a cancellation of the same reference
        await _lock_reference(conn, reference)
        reason = decline_reason(card_number)
        status = Status.DECLINED if reason else Status.AUTHORIZED
        row = await conn.fetchrow(
            _AUTHORIZE, new_id(), reference, key, status.value, amount_cents, currency,
            card_number[-4:], reason, now,
        ) or await conn.fetchrow(_BY_KEY, key)  # fmt: skip
        if row is None:
            raise ReferenceCancelledError(f"{reference} was cancelled and accepts no authorization")
        await failpoint("bank.before_authorize_commit")
        return _authorization(row)

    async def move(
        self, conn: Conn, kind: Kind, authorization_id: str, *, key: str, now: datetime
    ) -> Authorization:
        """Capture, void or refund the whole amount. A known key changes nothing again.

        Raises AuthorizationNotFoundError, WrongStateError.
        """
        found = await conn.fetchval(
            "SELECT true FROM authorizations WHERE authorization_id = $1 FOR UPDATE",
            authorization_id,
        )
        if not found:
            raise AuthorizationNotFoundError(f"no authorization {authorization_id}")
        # read after the lock: this sees the change of a concurrent request with the same key
        row = await conn.fetchrow(_LOCKED, authorization_id, key)
        assert row is not None
        before = _authorization(row)
        if row["known"]:
            return before
        after = apply(kind, before)
        await conn.execute(
            _MOVE, authorization_id, after.status.value, after.captured_cents,
            after.refunded_cents, kind.value, key, now,
        )  # fmt: skip
        await failpoint(f"bank.before_{kind}_commit")
        return after

    async def cancel(
        self, conn: Conn, reference: str, *, key: str, now: datetime
    ) -> list[Authorization]:
        """Void the reference's authorizations and refuse later ones. Raises WrongStateError if captured."""
        await _lock_reference(conn, reference)
        await conn.execute(
            "INSERT INTO cancelled_references VALUES ($1, $2) ON CONFLICT DO NOTHING",
            reference, now,
        )  # fmt: skip
        settled = (Status.DECLINED, Status.VOIDED)
        held = [a for a in await _by_reference(conn, reference) if a.status not in settled]
        for authorization in held:
            await self.move(conn, Kind.VOID, authorization.id, key=key, now=now)
        return await _by_reference(conn, reference)

    async def of_reference(self, reference: str) -> list[Authorization]:
        """The reference's authorizations, oldest first."""
        return [_authorization(row) for row in await self._pool.fetch(_BY_REFERENCE, reference)]


async def _lock_reference(conn: Conn, reference: str) -> None:
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", reference)


async def _by_reference(conn: Conn, reference: str) -> list[Authorization]:
    return [_authorization(row) for row in await conn.fetch(_BY_REFERENCE, reference)]


def _authorization(row: Record) -> Authorization:
    return Authorization(
        id=row["id"],
        reference=row["reference"],
        status=Status(row["status"]),
        amount_cents=row["amount_cents"],
        captured_cents=row["captured_cents"],
        refunded_cents=row["refunded_cents"],
        reason=row["reason"],
    )
