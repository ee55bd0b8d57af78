"""Stock on the real PostgreSQL: concurrent commands never oversell and lose no unit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from asyncpg import Pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.http.idempotency import AnsweredError, KeyReusedError, KeyUse
from chassis.ids import new_id
from shop.inventory.domain import (
    Line,
    OutOfStockError,
    Reservation,
    ReservationDiffersError,
    ReservationLostError,
    ReservationNotFoundError,
    ReservationReleasedError,
    Status,
    UnknownSkuError,
    WrongStateError,
)
from shop.inventory.seed import SKUS, seed
from shop.inventory.store import StockStore
from tests.shop.transactions import started_and_waiting, uncommitted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=60)
LATER = NOW + 2 * TTL
REFUSALS = (
    OutOfStockError,
    ReservationReleasedError,
    ReservationLostError,
    ReservationNotFoundError,
    ReservationDiffersError,
    WrongStateError,
)


class Stockroom:
    """The store, with each command under a key of its own."""

    def __init__(self, pool: Pool, guard: bool = True) -> None:
        self.pool = pool
        self.store = StockStore(pool, guard=guard)

    async def fill(self, **quantities: int) -> None:
        await self.pool.execute("TRUNCATE stock, reservations, reservation_lines")
        for sku, units in quantities.items():
            await self.pool.execute("INSERT INTO stock VALUES ($1, $2, $2)", sku, units)

    async def reserve(self, order_id: str, **lines: int) -> Reservation:
        wanted = [Line(sku, units) for sku, units in lines.items()]
        return await self.store.reserve(new_use(), order_id, wanted, now=NOW, expires_at=NOW + TTL)

    async def release(self, order_id: str) -> Reservation:
        return await self.store.release(new_use(), order_id, now=NOW)

    async def commit(self, order_id: str) -> Reservation:
        return await self.store.commit(new_use(), order_id, now=NOW)

    async def take_back(self, order_id: str) -> Reservation:
        return await self.store.take_back(new_use(), order_id, now=NOW)

    async def expire(self, now: datetime = LATER, limit: int = 100) -> int:
        return await self.store.expire(now=now, limit=limit)

    async def levels(self, sku: str = "A") -> tuple[int, int, int]:
        """(on_hand, reserved, shipped)"""
        stock = await self.store.stock(sku)
        return stock.on_hand, stock.reserved, stock.shipped

    async def oversold(self) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT sku FROM stock WHERE on_hand + reserved + shipped <> initial OR on_hand < 0"
        )
        return [row["sku"] for row in rows]

    async def is_accounted_for(self) -> bool:
        """Whether the reservations account for every reserved and shipped unit."""
        return bool(
            await self.pool.fetchval(
                """
                SELECT bool_and(reserved = coalesce(held, 0) AND shipped = coalesce(gone, 0))
                FROM stock LEFT JOIN (
                    SELECT sku, sum(quantity) FILTER (WHERE status = 'held') AS held,
                           sum(quantity) FILTER (WHERE status = 'committed') AS gone
                    FROM reservations JOIN reservation_lines USING (order_id) GROUP BY sku
                ) AS booked USING (sku)
                """
            )
        )


def new_use() -> KeyUse:
    return KeyUse("inventory.test", new_id(), None, 200)


@pytest.fixture
async def stockroom(pool: Pool) -> Stockroom:
    stockroom = Stockroom(pool)
    await stockroom.fill(A=10, B=10)
    return stockroom


async def test_goods_are_reserved_shipped_and_returned(stockroom: Stockroom) -> None:
    order = new_id()
    assert (await stockroom.reserve(order, A=4, B=1)).status is Status.HELD
    assert await stockroom.levels() == (6, 4, 0)
    assert (await stockroom.commit(order)).status is Status.COMMITTED
    assert await stockroom.levels() == (6, 0, 4)
    assert (await stockroom.take_back(order)).status is Status.RETURNED
    assert await stockroom.levels() == (10, 0, 0)
    assert (await stockroom.store.stock("A")).version == 4


@pytest.mark.parametrize("repeated", ["reserve", "release", "commit", "take_back"])
async def test_a_repeated_command_moves_nothing_again(stockroom: Stockroom, repeated: str) -> None:
    order = new_id()
    acts: dict[str, Callable[[], Awaitable[Reservation]]] = {
        "reserve": lambda: stockroom.reserve(order, A=3),
        "release": lambda: stockroom.release(order),
        "commit": lambda: stockroom.commit(order),
        "take_back": lambda: stockroom.take_back(order),
    }
    before = {"reserve": [], "release": ["reserve"], "commit": ["reserve"],
              "take_back": ["reserve", "commit"]}[repeated]  # fmt: skip
    for act in before:
        await acts[act]()
    first = await acts[repeated]()
    levels = await stockroom.levels()
    assert await acts[repeated]() == first
    assert await stockroom.levels() == levels


async def test_one_short_line_reserves_nothing(stockroom: Stockroom) -> None:
    with pytest.raises(OutOfStockError) as short:
        await stockroom.reserve(new_id(), A=2, B=11)
    assert short.value.extra == {"sku": "B", "wanted": 11, "available": 10}
    assert await stockroom.levels("A") == await stockroom.levels("B") == (10, 0, 0)


async def test_an_unknown_sku_is_named_and_nothing_is_stored(stockroom: Stockroom) -> None:
    order = new_id()
    with pytest.raises(UnknownSkuError) as unknown:
        await stockroom.reserve(order, A=2, X=1)
    assert unknown.value.extra == {"skus": ["X"]}
    assert (await stockroom.reserve(order, A=2)).status is Status.HELD


async def test_release_of_an_unknown_order_refuses_a_late_reservation(stockroom: Stockroom) -> None:
    order = new_id()
    assert (await stockroom.release(order)).status is Status.RELEASED
    with pytest.raises(ReservationReleasedError):
        await stockroom.reserve(order, A=1)


async def test_a_concurrent_reservation_and_release_leave_nothing_reserved(
    stockroom: Stockroom,
) -> None:
    for _ in range(20):
        order = new_id()
        await asyncio.gather(
            stockroom.reserve(order, A=1), stockroom.release(order), return_exceptions=True
        )
        assert await stockroom.levels() == (10, 0, 0)


async def test_the_same_order_with_other_goods_is_refused(stockroom: Stockroom) -> None:
    order = new_id()
    await stockroom.reserve(order, A=1)
    with pytest.raises(ReservationDiffersError):
        await stockroom.reserve(order, A=2)


async def test_an_expired_reservation_is_put_back_and_can_still_be_committed(
    stockroom: Stockroom,
) -> None:
    order = new_id()
    await stockroom.reserve(order, A=4)
    assert await stockroom.expire(now=NOW) == 0
    assert await stockroom.expire() == 1
    assert await stockroom.levels() == (10, 0, 0)
    assert (await stockroom.commit(order)).status is Status.COMMITTED
    assert await stockroom.levels() == (6, 0, 4)


async def test_an_expired_reservation_without_stock_is_lost(stockroom: Stockroom) -> None:
    order = new_id()
    await stockroom.reserve(order, A=4)
    await stockroom.expire()
    await stockroom.reserve(new_id(), A=7)
    with pytest.raises(ReservationLostError):
        await stockroom.commit(order)
    assert await stockroom.levels() == (3, 7, 0)
    assert (await stockroom.release(order)).status is Status.RELEASED


async def test_two_sweepers_put_each_reservation_back_once(stockroom: Stockroom) -> None:
    await asyncio.gather(*(stockroom.reserve(new_id(), A=1, B=1) for _ in range(10)))
    counts = await asyncio.gather(*(stockroom.expire(limit=4) for _ in range(4)))
    counts.append(await stockroom.expire())
    assert sum(counts) == 10
    assert await stockroom.levels("A") == await stockroom.levels("B") == (10, 0, 0)


async def test_fifty_concurrent_orders_for_ten_units_get_exactly_ten(stockroom: Stockroom) -> None:
    answers = await asyncio.gather(
        *(stockroom.reserve(new_id(), A=1) for _ in range(50)), return_exceptions=True
    )
    assert sum(isinstance(answer, Reservation) for answer in answers) == 10
    assert sum(isinstance(answer, OutOfStockError) for answer in answers) == 40
    assert await stockroom.levels() == (0, 10, 0)


async def test_an_order_that_waits_for_the_last_unit_is_out_of_stock(stockroom: Stockroom) -> None:
    async with uncommitted(stockroom.pool) as same:
        await Stockroom(same).reserve(new_id(), A=10)
        late = await started_and_waiting(stockroom.pool, stockroom.reserve(new_id(), A=1, B=1))
    with pytest.raises(OutOfStockError):
        await late
    assert await stockroom.levels("A") == (0, 10, 0)
    assert await stockroom.levels("B") == (10, 0, 0)


async def test_an_order_that_waits_for_units_that_are_released_gets_them(
    stockroom: Stockroom,
) -> None:
    first = new_id()
    await stockroom.reserve(first, A=10)
    async with uncommitted(stockroom.pool) as same:
        await Stockroom(same).release(first)
        late = await started_and_waiting(stockroom.pool, stockroom.reserve(new_id(), A=1))
    assert (await late).status is Status.HELD
    assert await stockroom.levels() == (9, 1, 0)


async def test_a_reservation_that_waits_for_its_release_is_refused(stockroom: Stockroom) -> None:
    order = new_id()
    async with uncommitted(stockroom.pool) as same:
        await Stockroom(same).release(order)
        late = await started_and_waiting(stockroom.pool, stockroom.reserve(order, A=1))
    with pytest.raises(ReservationReleasedError):
        await late
    assert await stockroom.levels() == (10, 0, 0)


async def test_a_commit_that_waits_for_the_sweeper_ships_from_hand(stockroom: Stockroom) -> None:
    order = new_id()
    await stockroom.reserve(order, A=4)
    async with uncommitted(stockroom.pool) as same:
        assert await Stockroom(same).expire() == 1
        late = await started_and_waiting(stockroom.pool, stockroom.commit(order))
    assert (await late).status is Status.COMMITTED
    assert await stockroom.levels() == (6, 0, 4)


async def test_a_second_request_with_the_key_waits_for_the_first_and_gets_its_answer(
    stockroom: Stockroom,
) -> None:
    """Also one with another order: a key has one effect."""
    first, other = new_id(), new_id()

    async def reserve(store: StockStore, order_id: str) -> KeyUse:
        with KeyUse("inventory.reserve", "key", {"order_id": order_id}, 201) as use:
            wanted = [Line("A" if order_id == first else "B", 1)]
            await store.reserve(use, order_id, wanted, now=NOW, expires_at=NOW + TTL)
        return use

    async with uncommitted(stockroom.pool) as same:
        made = await reserve(StockStore(same), first)
        again = await started_and_waiting(stockroom.pool, reserve(stockroom.store, first))
        reused = await started_and_waiting(stockroom.pool, reserve(stockroom.store, other))
    assert made.stored is not None
    assert (await again).stored == replace(made.stored, replayed=True)
    with pytest.raises(KeyReusedError):
        await reused
    assert await stockroom.levels("A") == (9, 1, 0)
    assert await stockroom.levels("B") == (10, 0, 0)


async def test_a_refused_command_leaves_its_key_free(stockroom: Stockroom) -> None:
    order, use = new_id(), new_use()
    for units, expected in ((11, OutOfStockError), (10, None), (1, AnsweredError)):
        with nullcontext() if expected is None else pytest.raises(expected):
            await stockroom.store.reserve(
                use, order, [Line("A", units)], now=NOW, expires_at=NOW + TTL
            )
    assert await stockroom.levels() == (0, 10, 0)


async def test_orders_of_the_same_skus_in_any_order_never_deadlock(stockroom: Stockroom) -> None:
    skus = {f"S{number}": 1000 for number in range(8)}
    await stockroom.fill(**skus)
    rng = Random(7)

    async def order() -> None:
        names = rng.sample(sorted(skus), 6)
        await stockroom.reserve(new_id(), **dict.fromkeys(names, 1))

    await asyncio.gather(*(order() for _ in range(80)))
    assert await stockroom.oversold() == []
    assert await stockroom.is_accounted_for()


async def test_without_the_guard_the_same_units_are_reserved_twice(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_have_read = asyncio.Barrier(2)

    async def meet(name: str) -> None:
        if name == "inventory.between_read_and_write":
            await asyncio.wait_for(both_have_read.wait(), 10)

    monkeypatch.setattr("shop.inventory.store.failpoint", meet)
    stockroom = Stockroom(pool, guard=False)
    await stockroom.fill(A=10)
    await asyncio.gather(stockroom.reserve(new_id(), A=10), stockroom.reserve(new_id(), A=10))
    assert await stockroom.levels() == (0, 20, 0)
    assert await stockroom.oversold() == ["A"]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "release", "commit", "take_back", "expire"]),
        st.integers(0, 4),  # which order
    ),
    min_size=5,
    max_size=40,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ACTS, st.integers(1, 6), st.integers(0, 2**32))
async def test_under_any_concurrent_commands_stock_adds_up_and_is_never_negative(
    stockroom: Stockroom, acts: list[tuple[str, int]], at_once: int, seed: int
) -> None:
    await stockroom.fill(A=6, B=9)
    rng = Random(seed)
    orders = [(new_id(), {"A": rng.randint(1, 4), "B": rng.randint(1, 4)}) for _ in range(5)]

    async def do(act: str, number: int) -> None:
        order_id, lines = orders[number]
        try:
            if act == "reserve":
                await stockroom.reserve(order_id, **lines)
            elif act == "expire":
                await stockroom.expire()
            else:
                await getattr(stockroom, act)(order_id)
        except REFUSALS:
            pass

    for start in range(0, len(acts), at_once):
        await asyncio.gather(*(do(*act) for act in acts[start : start + at_once]))
        assert await stockroom.oversold() == []
        assert await stockroom.is_accounted_for()


async def test_the_seed_fills_an_empty_store_once(pool: Pool) -> None:
    for _ in range(2):
        async with pool.acquire() as conn, conn.transaction():
            await seed(conn)
    assert await pool.fetchval("SELECT count(*) FROM stock") == SKUS
    assert await pool.fetchval("SELECT bool_and(on_hand = initial) FROM stock")
