"""The bank's ledger in SQL: each operation, its entry and its key in one statement, so in one transaction."""

# ruff: noqa: S608 - the f-strings below insert constant parts of statements

from datetime import datetime

from asyncpg import Pool, Record

from chassis.faults import failpoint
from chassis.http.idempotency import FROM_KNOWN, KNOWN, KeyUse, claimed
from chassis.ids import new_id
from chassis.postgres.connection import Conn
from chassis.postgres.one_statement import one_statement
from shop.bank.domain import (
    Authorization,
    AuthorizationNotFoundError,
    Kind,
    ReferenceCancelledError,
    Status,
    apply,
    decline_reason,
)

_COLUMNS = """a.authorization_id::text AS id, a.reference, a.status, a.amount_cents, a.captured_cents,
              a.refunded_cents, a.reason"""

# Inserts an authorization and, unless it is declined, its ledger entry; nothing if the reference was cancelled or
# the key is known. Writing the purchase's row waits for a concurrent cancellation, and then sees it.
_AUTHORIZE = f"""
WITH purchase AS (
    INSERT INTO purchases AS p (reference)
    SELECT $7 WHERE NOT EXISTS (SELECT FROM authorizations WHERE idempotency_key = $8)
    ON CONFLICT (reference) DO UPDATE SET reference = $7 WHERE p.cancelled_at IS NULL RETURNING true
), {claimed("purchase")}, made AS (
    INSERT INTO authorizations (authorization_id, reference, idempotency_key, status, amount_cents,
                                currency, card_last4, reason, created_at)
    SELECT $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM claimed
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING *
), entry AS (
    INSERT INTO ledger (authorization_id, reference, kind, amount_cents, idempotency_key, at)
    SELECT authorization_id, reference, 'authorize', amount_cents, $8, $14
    FROM made WHERE status = 'authorized'
)
SELECT true FROM made
"""
_BY_KEY = f"""
SELECT {KNOWN}, {_COLUMNS} {FROM_KNOWN} LEFT JOIN authorizations a ON a.idempotency_key = $3
"""
_BY_REFERENCE = (
    f"SELECT {_COLUMNS} FROM authorizations a WHERE reference = $1 ORDER BY authorization_id"
)
_BY_ID = f"""
SELECT {KNOWN}, {_COLUMNS}, EXISTS (SELECT FROM ledger l WHERE l.authorization_id = a.authorization_id
                                    AND l.idempotency_key = $4) AS entered
{FROM_KNOWN} LEFT JOIN authorizations a ON a.authorization_id = $3
"""
# nothing if the authorization is not as it was read, or if the key is known
_MOVE = f"""
WITH unchanged AS (
    SELECT authorization_id, reference, amount_cents FROM authorizations
    WHERE authorization_id = $6 AND status = $7 AND captured_cents = $8 AND refunded_cents = $9
    FOR UPDATE
), {claimed("unchanged")}, moved AS (
    UPDATE authorizations a SET status = $10, captured_cents = $11, refunded_cents = $12
    FROM claimed WHERE a.authorization_id = $6
), entry AS (
    INSERT INTO ledger (authorization_id, reference, kind, amount_cents, idempotency_key, at)
    SELECT authorization_id, reference, $13, amount_cents, $14, $15 FROM unchanged, claimed
)
SELECT true FROM claimed
"""
_CANCEL = """
INSERT INTO purchases AS p VALUES ($1, $2)
ON CONFLICT (reference) DO UPDATE SET cancelled_at = coalesce(p.cancelled_at, $2)
"""


class Ledger:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def authorize(
        self,
        use: KeyUse,
        *,
        reference: str,
        amount_cents: int,
        currency: str,
        card_number: str,
        key: str,
        now: datetime,
    ) -> Authorization:
        """Hold the amount, or decline the card (status declined, stored without an answer for the key).

        Raises ReferenceCancelledError, AnsweredError, KeyReusedError.
        """
        reason = decline_reason(card_number)
        status = Status.DECLINED if reason else Status.AUTHORIZED
        made = Authorization(new_id(), reference, status, amount_cents, reason=reason)
        async with one_statement(self._pool) as conn:
            if await conn.fetchval(
                _AUTHORIZE, *use.claim(None if reason else made), made.id, reference, key,
                status.value, amount_cents, currency, card_number[-4:], reason, now,
            ):  # fmt: skip
                await failpoint("bank.before_authorize_commit")
                return made
            row = use.replay(await conn.fetchrow(_BY_KEY, use.scope, use.key, key))
        if row["id"] is None:
            raise ReferenceCancelledError(f"{reference} was cancelled and accepts no authorization")
        found = _authorization(row)
        use.claim(None if found.status is Status.DECLINED else found)
        return found

    async def move(
        self, use: KeyUse, kind: Kind, authorization_id: str, *, key: str, now: datetime
    ) -> Authorization:
        """Capture, void or refund the whole amount. A known key changes nothing again.

        Raises AuthorizationNotFoundError, WrongStateError, AnsweredError, KeyReusedError.
        """
        async with one_statement(self._pool) as conn:
            return await self._move(conn, use, kind, authorization_id, key, now)

    async def cancel(
        self, conn: Conn, reference: str, *, key: str, now: datetime
    ) -> list[Authorization]:
        """Void the reference's authorizations and refuse later ones, in the caller's transaction.

        Raises WrongStateError if one is captured.
        """
        # waits for a concurrent authorization of the reference, which the next statement then sees
        await conn.execute(_CANCEL, reference, now)
        settled = (Status.DECLINED, Status.VOIDED)
        for held in await _by_reference(conn, reference):
            if held.status not in settled:
                use = KeyUse("bank.cancel/void", f"{key}:{held.id}", None, 200)
                await self._move(conn, use, Kind.VOID, held.id, key, now)
        return await _by_reference(conn, reference)

    async def of_reference(self, reference: str) -> list[Authorization]:
        """The reference's authorizations, oldest first."""
        return [_authorization(row) for row in await self._pool.fetch(_BY_REFERENCE, reference)]

    async def _move(
        self, conn: Conn, use: KeyUse, kind: Kind, authorization_id: str, key: str, now: datetime
    ) -> Authorization:
        while True:
            row = use.replay(await conn.fetchrow(_BY_ID, use.scope, use.key, authorization_id, key))
            if row["id"] is None:
                raise AuthorizationNotFoundError(f"no authorization {authorization_id}")
            before = _authorization(row)
            if row["entered"]:  # under this key, but without an answer: IDEMPOTENCY is off
                use.claim(before)
                return before
            after = apply(kind, before)
            if await conn.fetchval(
                _MOVE, *use.claim(after), before.id, before.status.value, before.captured_cents,
                before.refunded_cents, after.status.value, after.captured_cents,
                after.refunded_cents, kind.value, key, now,
            ):  # fmt: skip
                await failpoint(f"bank.before_{kind}_commit")
                return after
            # another request changed it, or used the key: look again


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
