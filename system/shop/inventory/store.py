"""Stock and reservations in SQL: all lines of a reservation in one transaction, without overselling."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from asyncpg import Pool, Record

from chassis.faults import failpoint
from chassis.postgres.connection import Conn
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
    Stock,
    StockNotFoundError,
    UnknownSkuError,
    decide,
    merged,
)

_OPEN = """
WITH made AS (
    INSERT INTO reservations (order_id, status, expires_at, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $4) ON CONFLICT (order_id) DO NOTHING RETURNING order_id
), lined AS (
    INSERT INTO reservation_lines (order_id, sku, quantity)
    SELECT order_id, sku, quantity FROM made, unnest($5::text[], $6::int[]) AS t (sku, quantity)
)
SELECT true FROM made
"""
_LOCK = "SELECT status, expires_at FROM reservations WHERE order_id = $1 FOR UPDATE"
_LINES = "SELECT sku, quantity FROM reservation_lines WHERE order_id = $1 ORDER BY sku"
# The SKUs are locked in sorted order, so that two reservations cannot deadlock. The condition is checked
# on the locked row, so that no unit is reserved twice.
_MOVE = """
WITH locked AS (
    SELECT sku, quantity FROM stock
    JOIN unnest($1::text[], $2::int[]) AS wanted (sku, quantity) USING (sku)
    ORDER BY sku FOR UPDATE OF stock
)
UPDATE stock SET
    on_hand = on_hand + $3 * quantity,
    reserved = reserved + $4 * quantity,
    shipped = shipped + $5 * quantity,
    version = version + 1
FROM locked WHERE stock.sku = locked.sku AND on_hand + $3 * quantity >= 0
RETURNING stock.sku
"""
_ON_HAND = "SELECT sku, on_hand FROM stock WHERE sku = ANY ($1)"
_OVERWRITE = """
UPDATE stock SET on_hand = $2, reserved = reserved + $3, shipped = shipped + $4, version = version + 1
WHERE sku = $1
"""
_EXPIRED = """
SELECT order_id FROM reservations WHERE status = 'held' AND expires_at <= $1
ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""


class StockStore:
    """`guard=False` is the lab's oversell anomaly: read the stock, then write a value computed from it."""

    def __init__(self, pool: Pool, *, guard: bool = True) -> None:
        self._pool = pool
        self._guard = guard

    async def reserve(
        self,
        conn: Conn,
        order_id: str,
        lines: Sequence[Line],
        *,
        now: datetime,
        expires_at: datetime,
    ) -> Reservation:
        """Reserve all lines until `expires_at`, or none; once per order.

        Raises OutOfStockError, UnknownSkuError, ReservationReleasedError, ReservationDiffersError,
        WrongStateError.
        """
        wanted = Reservation(order_id, Status.HELD, merged(lines), expires_at)
        if await _insert_new(conn, wanted, now):
            await self._move(conn, Move.RESERVE, wanted.lines)
            return wanted
        found = await _lock(conn, order_id)
        step = decide(Command.RESERVE, found)
        if found.lines != wanted.lines:
            raise ReservationDiffersError(f"order {order_id} has a reservation of other goods")
        if step.move is None:
            return found
        await self._move(conn, step.move, wanted.lines)
        return await _set_status(conn, replace(found, expires_at=expires_at), step.status, now)

    async def release(self, conn: Conn, order_id: str, *, now: datetime) -> Reservation:
        """Put the goods back. An unknown order gets a tombstone, which refuses a later reservation."""
        tombstone = Reservation(order_id, Status.RELEASED, (), None)
        if await _insert_new(conn, tombstone, now):
            return tombstone
        return await self._apply(conn, Command.RELEASE, order_id, now)

    async def commit(self, conn: Conn, order_id: str, *, now: datetime) -> Reservation:
        """Ship the goods. Raises ReservationLostError if they expired and the stock is gone."""
        try:
            return await self._apply(conn, Command.COMMIT, order_id, now)
        except OutOfStockError as gone:
            raise ReservationLostError(f"order {order_id}: expired, and then {gone}") from gone

    async def take_back(self, conn: Conn, order_id: str, *, now: datetime) -> Reservation:
        """Put shipped goods on hand again."""
        return await self._apply(conn, Command.RETURN, order_id, now)

    async def expire(self, conn: Conn, *, now: datetime, limit: int) -> int:
        """Put back the goods of up to `limit` expired reservations; returns how many there were."""
        # skips reservations that another transaction releases or commits now
        expired = [row["order_id"] for row in await conn.fetch(_EXPIRED, now, limit)]
        if not expired:
            return 0
        rows = await conn.fetch(
            "SELECT sku, quantity FROM reservation_lines WHERE order_id = ANY ($1)", expired
        )
        await self._move(conn, Move.PUT_BACK, merged(_line(row) for row in rows))
        await conn.execute(
            "UPDATE reservations SET status = 'expired', updated_at = $2 WHERE order_id = ANY ($1)",
            expired, now,
        )  # fmt: skip
        return len(expired)

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
        self, conn: Conn, command: Command, order_id: str, now: datetime
    ) -> Reservation:
        found = await _lock(conn, order_id)
        step = decide(command, found)
        if step.move is not None:
            await self._move(conn, step.move, found.lines)
        return await _set_status(conn, found, step.status, now)

    async def _move(self, conn: Conn, move: Move, lines: Sequence[Line]) -> None:
        """Move the goods of all lines. Raises OutOfStockError, UnknownSkuError: then the caller rolls back."""
        if move.needs_stock and not self._guard:
            await self._move_unguarded(conn, move, lines)
            return
        skus = [line.sku for line in lines]
        rows = await conn.fetch(_MOVE, skus, [line.quantity for line in lines], *move.value)
        missed = set(skus) - {row["sku"] for row in rows}
        if missed:
            on_hand = await _on_hand(conn, skus)
            raise _shortage([line for line in lines if line.sku in missed], on_hand)

    async def _move_unguarded(self, conn: Conn, move: Move, lines: Sequence[Line]) -> None:
        on_hand = await _on_hand(conn, [line.sku for line in lines])
        short = [line for line in lines if on_hand.get(line.sku, -1) < line.quantity]
        if short:
            raise _shortage(short, on_hand)
        await failpoint("inventory.between_read_and_write")
        _, reserved, shipped = move.value
        await conn.executemany(
            _OVERWRITE,
            [
                (
                    line.sku,
                    on_hand[line.sku] - line.quantity,
                    reserved * line.quantity,
                    shipped * line.quantity,
                )
                for line in lines
            ],
        )


async def _insert_new(conn: Conn, reservation: Reservation, now: datetime) -> bool:
    """Insert the reservation; False if the order already has one."""
    fresh = await conn.fetchval(
        _OPEN, reservation.order_id, reservation.status.value, reservation.expires_at, now,
        [line.sku for line in reservation.lines], [line.quantity for line in reservation.lines],
    )  # fmt: skip
    return fresh is not None


async def _lock(conn: Conn, order_id: str) -> Reservation:
    """The order's reservation, locked until the transaction ends. Raises ReservationNotFoundError."""
    row = await conn.fetchrow(_LOCK, order_id)
    if row is None:
        raise ReservationNotFoundError(f"order {order_id} has no reservation")
    lines = tuple(_line(line) for line in await conn.fetch(_LINES, order_id))
    return Reservation(order_id, Status(row["status"]), lines, row["expires_at"])


async def _set_status(
    conn: Conn, reservation: Reservation, status: Status, now: datetime
) -> Reservation:
    if status is not reservation.status:
        await conn.execute(
            "UPDATE reservations SET status = $2, expires_at = $3, updated_at = $4"
            " WHERE order_id = $1",
            reservation.order_id, status.value, reservation.expires_at, now,
        )  # fmt: skip
    return replace(reservation, status=status)


async def _on_hand(conn: Conn, skus: Sequence[str]) -> dict[str, int]:
    return {row["sku"]: row["on_hand"] for row in await conn.fetch(_ON_HAND, skus)}


def _shortage(lines: Sequence[Line], on_hand: dict[str, int]) -> OutOfStockError | UnknownSkuError:
    unknown = [line.sku for line in lines if line.sku not in on_hand]
    if unknown:
        return UnknownSkuError(unknown)
    return OutOfStockError(lines[0].sku, lines[0].quantity, on_hand[lines[0].sku])


def _line(row: Record) -> Line:
    return Line(row["sku"], row["quantity"])
