"""The bank's ledger on the real PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from asyncpg import Pool

from chassis.http.idempotency import KeyReusedError, KeyUse
from shop.bank.domain import Authorization, Kind, ReferenceCancelledError, Status, WrongStateError
from shop.bank.store import Ledger
from tests.shop.transactions import started_and_waiting, uncommitted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD, DECLINED = "4242424242424242", "4000000000000002"


@pytest.fixture
def ledger(pool: Pool) -> Ledger:
    return Ledger(pool)


async def authorize(
    ledger: Ledger, key: str = "a", card: str = GOOD, reference: str = "order-1"
) -> Authorization:
    with KeyUse("bank.authorize", key, {"reference": reference}, 201) as use:
        return await ledger.authorize(
            use, reference=reference, amount_cents=700, currency="EUR", card_number=card,
            key=key, now=NOW,
        )  # fmt: skip
    return answer(use)


async def move(ledger: Ledger, kind: Kind, of: Authorization, key: str) -> Authorization:
    with KeyUse(f"bank.{kind}", key, {"id": of.id}, 200) as use:
        return await ledger.move(use, kind, of.id, key=key, now=NOW)
    return answer(use)


def answer(use: KeyUse) -> Authorization:
    """The stored answer of a key that was used before."""
    assert use.stored is not None
    assert use.stored.replayed
    return Authorization(**use.stored.body)


async def cancel(pool: Pool, ledger: Ledger, key: str = "x") -> list[Authorization]:
    async with pool.acquire() as conn, conn.transaction():
        return await ledger.cancel(conn, "order-1", key=key, now=NOW)


async def entries(pool: Pool) -> list[str]:
    return [row["kind"] for row in await pool.fetch("SELECT kind FROM ledger ORDER BY entry_id")]


async def test_the_same_key_authorizes_once(pool: Pool, ledger: Ledger) -> None:
    made = await asyncio.gather(*(authorize(ledger) for _ in range(5)))
    assert len({authorization.id for authorization in made}) == 1
    assert await entries(pool) == ["authorize"]


async def test_a_declined_card_is_stored_without_a_ledger_entry(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger, card=DECLINED)
    again = await authorize(ledger, card=DECLINED)
    assert (made.status, made.reason) == (Status.DECLINED, "card_declined")
    assert again == made
    assert await entries(pool) == []


async def test_twenty_concurrent_captures_with_one_key_take_the_money_once(
    pool: Pool, ledger: Ledger
) -> None:
    made = await authorize(ledger)
    after = await asyncio.gather(*(move(ledger, Kind.CAPTURE, made, "capture") for _ in range(20)))
    assert {authorization.captured_cents for authorization in after} == {700}
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_capture_with_a_new_key_takes_the_money_again(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger)
    for key in ("one", "two"):
        after = await move(ledger, Kind.CAPTURE, made, key)
    assert after.captured_cents == 1400
    assert await entries(pool) == ["authorize", "capture", "capture"]


async def test_a_refused_operation_changes_nothing(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger)
    await move(ledger, Kind.CAPTURE, made, "capture")
    with pytest.raises(WrongStateError):
        await move(ledger, Kind.VOID, made, "void")
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_cancelled_reference_is_voided_and_accepts_no_late_authorization(
    pool: Pool, ledger: Ledger
) -> None:
    await authorize(ledger)
    assert [a.status for a in await cancel(pool, ledger)] == [Status.VOIDED]
    with pytest.raises(ReferenceCancelledError):
        await authorize(ledger, key="late")
    assert await entries(pool) == ["authorize", "void"]


async def test_a_captured_reference_cannot_be_cancelled(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger)
    await move(ledger, Kind.CAPTURE, made, "capture")
    with pytest.raises(WrongStateError):
        await cancel(pool, ledger)
    assert await pool.fetchval("SELECT count(*) FROM purchases WHERE cancelled_at IS NOT NULL") == 0


async def test_a_concurrent_authorization_and_cancellation_never_leave_a_hold(
    pool: Pool, ledger: Ledger
) -> None:
    for _ in range(20):
        await pool.execute("TRUNCATE authorizations, ledger, purchases, idempotency")
        await asyncio.gather(authorize(ledger), cancel(pool, ledger), return_exceptions=True)
        held = await pool.fetchval("SELECT count(*) FROM authorizations WHERE status <> 'voided'")
        assert held == 0


async def test_an_authorization_that_waits_for_a_cancellation_is_refused(
    pool: Pool, ledger: Ledger
) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await ledger.cancel(conn, "order-1", key="x", now=NOW)
        late = await started_and_waiting(pool, authorize(ledger))
    with pytest.raises(ReferenceCancelledError):
        await late
    assert await entries(pool) == []


async def test_a_cancellation_that_waits_for_an_authorization_voids_it(
    pool: Pool, ledger: Ledger
) -> None:
    async with uncommitted(pool) as same:
        await authorize(Ledger(same))
        late = await started_and_waiting(pool, cancel(pool, ledger))
    assert [each.status for each in await late] == [Status.VOIDED]
    assert await entries(pool) == ["authorize", "void"]


async def test_a_second_request_with_the_key_waits_for_the_first_and_gets_its_answer(
    pool: Pool, ledger: Ledger
) -> None:
    async with uncommitted(pool) as same:
        made = await authorize(Ledger(same))
        second = await started_and_waiting(pool, authorize(ledger))
        other = await started_and_waiting(pool, authorize(ledger, reference="order-2"))
    assert await second == made
    with pytest.raises(KeyReusedError):
        await other
    async with uncommitted(pool) as same:
        captured = await move(Ledger(same), Kind.CAPTURE, made, "capture")
        second = await started_and_waiting(pool, move(ledger, Kind.CAPTURE, made, "capture"))
    assert await second == captured
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_void_that_waits_for_a_capture_is_refused(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger)
    async with uncommitted(pool) as same:
        await move(Ledger(same), Kind.CAPTURE, made, "capture")
        late = await started_and_waiting(pool, move(ledger, Kind.VOID, made, "void"))
    with pytest.raises(WrongStateError):
        await late
    assert await entries(pool) == ["authorize", "capture"]


async def test_a_refused_operation_leaves_its_key_free(pool: Pool, ledger: Ledger) -> None:
    made = await authorize(ledger)
    with pytest.raises(WrongStateError):
        await move(ledger, Kind.REFUND, made, "key")
    await move(ledger, Kind.CAPTURE, made, "capture")
    assert (await move(ledger, Kind.REFUND, made, "key")).status is Status.REFUNDED


async def test_the_ledger_refuses_updates_and_deletes(pool: Pool, ledger: Ledger) -> None:
    await authorize(ledger)
    for statement in ("UPDATE ledger SET amount_cents = 1", "DELETE FROM ledger"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await pool.execute(statement)
