"""Stock and reservations in SQL: a command, its goods and its key in one statement, without overselling."""

# ruff: noqa: S608 - the f-strings below insert constant parts of statements

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from asyncpg import Pool, UniqueViolationError

from chassis.faults import failpoint
from chassis.http.idempotency import FROM_KNOWN, KNOWN, KeyUse, claimed
from chassis.postgres.one_statement import one_statement
from shop.inventory.domain import (
    Command,
    Line,
    Move,
    OutOfStockError,
    Reservation,
    ReservationDiffersError,
    ReservationLostError,
    ReservationNotFoundError,
    Status,
    Step,
    Stock,
    StockNotFoundError,
    UnknownSkuError,
    decide,
    merged,
)

# Changes a reservation and the goods, if the reservation is as it was read ($7: its status; null: there is none)
# and the goods are there; else it changes nothing. The SKUs are locked in sorted order, so that two reservations
# cannot deadlock. The new counts are made from the locked row, because the statement's own snapshot may be older:
# so no unit is reserved twice. `set_to` is the lab's anomaly. Of two first reservations of one order at the same
# time the second one fails.
_WRITE = f"""
WITH current AS (
    SELECT status FROM reservations WHERE order_id = $6 FOR UPDATE
), locked AS (
    SELECT sku, quantity, set_to, on_hand, reserved, shipped, version FROM stock
    JOIN unnest($11::text[], $12::int[], $13::int[]) AS wanted (sku, quantity, set_to) USING (sku)
    WHERE (SELECT status FROM current) IS NOT DISTINCT FROM $7
    ORDER BY sku FOR UPDATE OF stock
), possible AS (
    SELECT FROM locked
    HAVING count(*) = cardinality($11) AND (SELECT status FROM current) IS NOT DISTINCT FROM $7
       AND coalesce(bool_and(set_to IS NOT NULL OR on_hand + $14 * quantity >= 0), true)
), {claimed("possible")}, made AS (
    INSERT INTO reservations (order_id, status, expires_at, created_at, updated_at)
    SELECT $6, $8, $9, $10, $10 FROM claimed WHERE $7 IS NULL
), lined AS (
    INSERT INTO reservation_lines (order_id, sku, quantity)
    SELECT $6, sku, quantity FROM claimed, locked WHERE $7 IS NULL
), changed AS (
    UPDATE reservations SET status = $8, expires_at = $9, updated_at = $10
    FROM claimed WHERE order_id = $6 AND status <> $8
), moved AS (
    UPDATE stock SET
        on_hand = coalesce(set_to, locked.on_hand + $14 * quantity),
        reserved = locked.reserved + $15 * quantity,
        shipped = locked.shipped + $16 * quantity,
        version = locked.version + 1
    FROM claimed, locked WHERE stock.sku = locked.sku
)
SELECT EXISTS (SELECT FROM claimed) AS done, CASE
    WHEN (SELECT status FROM current) IS NOT DISTINCT FROM $7 AND NOT EXISTS (SELECT FROM possible)
    THEN (SELECT coalesce(json_object_agg(sku, on_hand), '{{}}') FROM locked)
END AS too_little
"""
_READ = f"""
SELECT {KNOWN}, r.order_id::text, r.status, r.expires_at,
       ARRAY (SELECT sku FROM reservation_lines WHERE order_id = $3 ORDER BY sku) AS skus,
       ARRAY (SELECT quantity FROM reservation_lines WHERE order_id = $3 ORDER BY sku) AS quantities
{FROM_KNOWN} LEFT JOIN reservations r ON r.order_id = $3
"""
_ON_HAND = "SELECT sku, on_hand FROM stock WHERE sku = ANY ($1)"
# skips reservations that another transaction releases or commits now
_EXPIRE = """
WITH due AS (
    SELECT order_id FROM reservations WHERE status = 'held' AND expires_at <= $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
), goods AS (
    SELECT sku, sum(quantity)::int AS quantity FROM reservation_lines JOIN due USING (order_id) GROUP BY sku
), locked AS (
    SELECT sku, quantity, on_hand, reserved, shipped, version FROM stock JOIN goods USING (sku)
    ORDER BY sku FOR UPDATE OF stock
), ended AS (
    UPDATE reservations r SET status = 'expired', updated_at = $1 FROM due WHERE r.order_id = due.order_id
), moved AS (
    UPDATE stock SET
        on_hand = locked.on_hand + $3 * quantity,
        reserved = locked.reserved + $4 * quantity,
        shipped = locked.shipped + $5 * quantity,
        version = locked.version + 1
    FROM locked WHERE stock.sku = locked.sku
)
SELECT count(*) FROM due
"""


class StockStore:
    """`guard=False` is the lab's oversell anomaly: read the stock, then write a value computed from it."""

    def __init__(self, pool: Pool, *, guard: bool = True) -> None:
        self._pool = pool
        self._guard = guard

    async def reserve(
        self,
        use: KeyUse,
        order_id: str,
        lines: Sequence[Line],
        *,
        now: datetime,
        expires_at: datetime,
    ) -> Reservation:
        """Reserve all lines until `expires_at`, or none; once per order.

        Raises OutOfStockError, UnknownSkuError, ReservationReleasedError, ReservationDiffersError,
        WrongStateError, AnsweredError, KeyReusedError.
        """
        wanted = Reservation(order_id, Status.HELD, merged(lines), expires_at)
        found: Reservation | None = None
        while True:
            step = decide(Command.RESERVE, found) if found else Step(Status.HELD, Move.RESERVE)
            if found and found.lines != wanted.lines:
                raise ReservationDiffersError(f"order {order_id} has a reservation of other goods")
            after = wanted if found is None or step.move else found
            if await self._write(use, found, after, step.move, now):
                return after
            found = await self._read(use, order_id)

    async def release(self, use: KeyUse, order_id: str, *, now: datetime) -> Reservation:
        """Put the goods back. An unknown order gets a tombstone, which refuses a later reservation."""
        try:
            return await self._apply(use, Command.RELEASE, order_id, now)
        except ReservationNotFoundError:
            tombstone = Reservation(order_id, Status.RELEASED, (), None)
            if await self._write(use, None, tombstone, None, now):
                return tombstone
            return await self._apply(use, Command.RELEASE, order_id, now)

    async def commit(self, use: KeyUse, order_id: str, *, now: datetime) -> Reservation:
        """Ship the goods. Raises ReservationLostError if they expired and the stock is gone."""
        try:
            return await self._apply(use, Command.COMMIT, order_id, now)
        except OutOfStockError as gone:
            raise ReservationLostError(f"order {order_id}: expired, and then {gone}") from gone

    async def take_back(self, use: KeyUse, order_id: str, *, now: datetime) -> Reservation:
        """Put shipped goods on hand again."""
        return await self._apply(use, Command.RETURN, order_id, now)

    async def expire(self, *, now: datetime, limit: int) -> int:
        """Put back the goods of up to `limit` expired reservations; returns how many there were."""
        expired: int = await self._pool.fetchval(_EXPIRE, now, limit, *Move.PUT_BACK.value)
        return expired

    async def held(self) -> int:
        """The number of reservations that hold goods now."""
        count: int = await self._pool.fetchval(
            "SELECT count(*) FROM reservations WHERE status = 'held'"
        )
        return count

    async def stock(self, sku: str) -> Stock:
        """Raises StockNotFoundError."""
        row = await self._pool.fetchrow(
            "SELECT sku, initial, on_hand, reserved, shipped, version FROM stock WHERE sku = $1",
            sku,
        )
        if row is None:
            raise StockNotFoundError(f"no stock of {sku}")
        return Stock(**row)

    async def _apply(
        self, use: KeyUse, command: Command, order_id: str, now: datetime
    ) -> Reservation:
        while True:
            found = await self._read(use, order_id)
            if found is None:
                raise ReservationNotFoundError(f"order {order_id} has no reservation")
            step = decide(command, found)
            after = replace(found, status=step.status)
            if await self._write(use, found, after, step.move, now):
                return after

    async def _write(
        self,
        use: KeyUse,
        before: Reservation | None,
        after: Reservation,
        move: Move | None,
        now: datetime,
    ) -> bool:
        """Store the reservation and move the goods; False if another request was faster.

        Raises OutOfStockError, UnknownSkuError, AnsweredError, KeyReusedError.
        """
        lines = after.lines if move else ()
        set_to: Sequence[int | None] = [None] * len(lines)
        if move and move.needs_stock and not self._guard:
            set_to = await self._remaining(lines)
        try:
            async with one_statement(self._pool) as conn:
                row = await conn.fetchrow(
                    _WRITE, *use.claim(after), after.order_id, before.status.value if before else None,
                    after.status.value, after.expires_at, now, [line.sku for line in lines],
                    [line.quantity for line in lines], set_to, *(move.value if move else (0, 0, 0)),
                )  # fmt: skip
                assert row is not None, "the statement makes one row"
                if row["done"]:
                    await failpoint("inventory.before_commit")
        except UniqueViolationError as error:
            if error.constraint_name != "reservations_pkey":
                raise
            return False
        if row["done"]:
            await failpoint("inventory.after_commit")
        elif row["too_little"] is not None:
            await self._read(use, after.order_id)  # the key may have an answer
            raise _shortage(lines, json.loads(row["too_little"]))
        return bool(row["done"])

    async def _read(self, use: KeyUse, order_id: str) -> Reservation | None:
        """The order's reservation. Raises AnsweredError, KeyReusedError."""
        row = use.replay(await self._pool.fetchrow(_READ, use.scope, use.key, order_id))
        if row["order_id"] is None:
            return None
        lines = tuple(map(Line, row["skus"], row["quantities"]))
        return Reservation(row["order_id"], Status(row["status"]), lines, row["expires_at"])

    async def _remaining(self, lines: Sequence[Line]) -> list[int]:
        """The lab's anomaly: the stock after the move, computed from what is read now."""
        rows = await self._pool.fetch(_ON_HAND, [line.sku for line in lines])
        on_hand = {row["sku"]: row["on_hand"] for row in rows}
        if any(on_hand.get(line.sku, -1) < line.quantity for line in lines):
            raise _shortage(lines, on_hand)
        await failpoint("inventory.between_read_and_write")
        return [on_hand[line.sku] - line.quantity for line in lines]


def _shortage(lines: Sequence[Line], on_hand: dict[str, int]) -> OutOfStockError | UnknownSkuError:
    unknown = [line.sku for line in lines if line.sku not in on_hand]
    if unknown:
        return UnknownSkuError(unknown)
    short = next((line for line in lines if on_hand[line.sku] < line.quantity), lines[0])
    return OutOfStockError(short.sku, short.quantity, on_hand[short.sku])
