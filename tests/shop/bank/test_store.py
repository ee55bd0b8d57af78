"""The bank's ledger on the real PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from asyncpg import Pool

from shop.bank.domain import Authorization, Kind, ReferenceCancelledError, Status, WrongStateError
from shop.bank.store import Ledger

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD, DECLINED = "4242424242424242", "4000000000000002"


@pytest.fixture
def ledger(pool: Pool) -> Ledger:
    return Ledger(pool)


async def authorize(
    pool: Pool, ledger: Ledger, key: str = "a", card: str = GOOD, reference: str = "order-1"
) -> Authorization:
    async with pool.acquire() as conn, conn.transaction():
        return await ledger.authorize(
            conn, reference=reference, amount_cents=700, currency="EUR", card_number=card,
            key=key, now=NOW,
        )  # fmt: skip


async def move(
    pool: Pool, ledger: Ledger, kind: Kind, of: Authorization, key: str
) -> Authorization:
    async with pool.acquire() as conn, conn.transaction():
        return await ledger.move(conn, kind, of.id, key=key, now=NOW)


async def cancel(pool: Pool, ledger: Ledger, key: str = "x") -> list[Authorization]:
    async with pool.acquire() as conn, conn.transaction():
        return await ledger.cancel(conn, "order-1", key=key, now=NOW)


async def entries(pool: Pool) -> list[str]:
    return [row["kind"] for row in await pool.fetch("SELECT kind FROM ledger ORDER BY entry_id")]


async def test_the_same_key_authorizes_once(pool: Pool, ledger: Ledger) -> None:
    made = await asyncio.gather(*(authorize(pool, ledger) for _ in range(5)))
    assert len({authorization.id for authorization in made}) == 1
    assert await entries(pool) == ["authorize"]


async def test_a_declined_card_is_stored_without_a_ledger_entry(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(pool, ledger, card=DECLINED)
    again = await authorize(pool, ledger, card=DECLINED)
    assert (made.status, made.reason) == (Status.DECLINED, "card_declined")
    assert again == made
    assert await entries(pool) == []


async def test_twenty_concurrent_captures_with_one_key_take_the_money_once(
    pool: Pool, ledger: Ledger
) -> None:
    made = await authorize(pool, ledger)
    after = await asyncio.gather(
        *(move(pool, ledger, Kind.CAPTURE, made, "capture") for _ in range(20))
    )
    assert {authorization.captured_cents for authorization in after} == {700}
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_capture_with_a_new_key_takes_the_money_again(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(pool, ledger)
    for key in ("one", "two"):
        after = await move(pool, ledger, Kind.CAPTURE, made, key)
    assert after.captured_cents == 1400
    assert await entries(pool) == ["authorize", "capture", "capture"]


async def test_a_refused_operation_changes_nothing(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(pool, ledger)
    await move(pool, ledger, Kind.CAPTURE, made, "capture")
    with pytest.raises(WrongStateError):
        await move(pool, ledger, Kind.VOID, made, "void")
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_cancelled_reference_is_voided_and_accepts_no_late_authorization(
    pool: Pool, ledger: Ledger
) -> None:
    await authorize(pool, ledger)
    assert [a.status for a in await cancel(pool, ledger)] == [Status.VOIDED]
    with pytest.raises(ReferenceCancelledError):
        await authorize(pool, ledger, key="late")
    assert await entries(pool) == ["authorize", "void"]


async def test_a_captured_reference_cannot_be_cancelled(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(pool, ledger)
    await move(pool, ledger, Kind.CAPTURE, made, "capture")
    with pytest.raises(WrongStateError):
        await cancel(pool, ledger)
    assert await pool.fetchval("SELECT count(*) FROM cancelled_references") == 0


async def test_a_concurrent_authorization_and_cancellation_never_leave_a_hold(
    pool: Pool, ledger: Ledger
) -> None:
    for _ in range(20):
        await pool.execute("TRUNCATE authorizations, ledger, cancelled_references")
        await asyncio.gather(authorize(pool, ledger), cancel(pool, ledger), return_exceptions=True)
        held = await pool.fetchval("SELECT count(*) FROM authorizations WHERE status <> 'voided'")
        assert held == 0


async def test_the_ledger_refuses_updates_and_deletes(pool: Pool, ledger: Ledger) -> None:
    await authorize(pool, ledger)
    for statement in ("UPDATE ledger SET amount_cents = 1", "DELETE FROM ledger"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await pool.execute(statement)
