"""Orders and sagas on the real PostgreSQL: keys, leases, fencing, and events in the same transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.client import Client

import shop.orders.store as orders_store
from chassis.ids import new_id
from chassis.messaging.bus import Bus
from chassis.messaging.outbox import Outbox
from chassis.postgres.database import apply_schema, open_pool
from shop.orders.domain import Line, Order, price
from shop.orders.saga import CHECKOUT, Ended, Progress
from shop.orders.store import OrderStore
from tests.fixtures.waiting import wait_until_async

BODY = {"lines": [["SKU-0001", 2]]}
SKUS = ("SKU-0003", "SKU-0007")


@dataclass
class Shop:
    pool: asyncpg.Pool
    outbox: Outbox

    def store(self, owner: str, **options: Any) -> OrderStore:
        settings = {"saga_deadline_s": 30.0} | options
        return OrderStore(self.pool, self.outbox, owner, **settings)

    async def events(self) -> list[str]:
        rows = await self.pool.fetch("SELECT type FROM outbox ORDER BY id")
        return [row["type"] for row in rows]


async def _place(
    store: OrderStore, order: Order, key: str = "k", traceparent: str = ""
) -> Order | None:
    placed = await store.place(order, key, BODY, traceparent)
    return placed.order if placed else None


@pytest.fixture
async def shop(database: Callable[[str], str]) -> AsyncIterator[Shop]:
    pool = await open_pool(database("orders"), size_max=10, clock_s=asyncio.get_running_loop().time)
    await apply_schema(pool, Path(orders_store.__file__).with_name("schema.sql"), None)
    yield Shop(pool, Outbox(pool, Bus(Client())))
    pool.terminate()


def _order(user_id: str = "u1") -> Order:
    lines = (Line("SKU-0001", 2, 500), Line("SKU-0002", 1, 100))
    return Order(new_id(), user_id, "u@example.com", lines, "4242424242424242", total_cents=1100)


async def test_a_resumed_saga_sends_the_same_lines_again(shop: Shop) -> None:
    """In another order they would be another body under the same key, which is refused."""
    orders = shop.store("orders-1")
    lines = price([("SKU-0007", 1), ("SKU-0003", 2), ("SKU-0007", 1)], dict.fromkeys(SKUS, 100))
    order = replace(_order(), lines=lines)
    await _place(orders, order, "k1")
    resumed = await orders.load(order.id)
    assert resumed is not None
    assert resumed.order.lines == lines == (Line("SKU-0003", 2, 100), Line("SKU-0007", 2, 100))


async def test_an_order_is_read_back_as_it_was_placed(shop: Shop) -> None:
    placed = await _place(shop.store("a"), _order())
    assert placed is not None
    assert await shop.store("b").get(placed.id) == placed
    assert await shop.events() == ["OrderPlaced"]


async def test_concurrent_requests_with_one_key_place_one_order(shop: Shop) -> None:
    placed = await asyncio.gather(
        *(_place(shop.store(f"i{n}"), _order(), "same") for n in range(8))
    )
    (winner,) = [order for order in placed if order is not None]
    found = await shop.store("a").by_key("u1", "same")
    assert found is not None
    assert found[0].id == winner.id
    assert await shop.events() == ["OrderPlaced"]
    assert await shop.store("a").by_key("u2", "same") is None


async def test_without_idempotency_the_same_key_places_again(shop: Shop) -> None:
    unsafe = shop.store("a", idempotency=False)
    assert await _place(unsafe, _order(), "same") is not None
    assert await _place(unsafe, _order(), "same") is not None


async def test_only_the_holder_of_its_lease_changes_a_saga(shop: Shop) -> None:
    order = await _place(shop.store("a"), _order())
    assert order is not None
    progress = Progress(order)
    assert await shop.store("a").persist(progress.begun()) is not None
    assert await shop.store("b").persist(progress.begun()) is None
    assert await shop.store("b").claim(10) == []  # the lease is still valid


async def test_an_expired_lease_is_taken_over_once_and_the_former_holder_is_fenced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders_store, "LEASE", timedelta(milliseconds=50))
    order = await _place(shop.store("a"), _order(), "k", "00-trace")
    assert order is not None
    assert await shop.store("a").persist(Progress(order).begun()) is not None
    monkeypatch.setattr(orders_store, "LEASE", timedelta(seconds=30))  # the new owner keeps it

    async def claimed() -> list[tuple[str, str]]:
        batches = await asyncio.gather(shop.store("b").claim(10), shop.store("b").claim(10))
        return [pair for batch in batches for pair in batch]

    assert await wait_until_async(claimed, "the lease runs out") == [(order.id, "00-trace")]
    assert await shop.store("a").persist(Progress(order).begun().done()) is None
    loaded = await shop.store("b").load(order.id)
    assert loaded is not None
    assert (loaded.at, loaded.started, loaded.direction) == (0, True, "forward")


async def test_a_parked_saga_is_due_for_any_instance_after_its_pause(shop: Shop) -> None:
    order = await _place(shop.store("a"), _order())
    assert order is not None
    assert (
        await shop.store("a").persist(Progress(order).begun().retrying(), park_s=0.05) is not None
    )
    claimed = await wait_until_async(lambda: shop.store("b").claim(10), "the parked saga is due")
    assert [order_id for order_id, _ in claimed] == [order.id]
    loaded = await shop.store("b").load(order.id)
    assert loaded is not None
    assert loaded.attempts == 1


async def test_the_end_of_a_saga_ends_the_order_publishes_it_and_masks_the_card(shop: Shop) -> None:
    orders = shop.store("a")
    order = await _place(orders, _order())
    assert order is not None
    ended = await orders.finish(Progress(order, at=len(CHECKOUT)))
    read = await orders.get(order.id)
    assert read is not None
    assert (read.status, read.version, read.card_number) == ("confirmed", 2, "************4242")
    assert ended == Ended(read)
    assert await shop.events() == ["OrderPlaced", "OrderConfirmed"]
    assert await orders.count_pending(3600.0) == (0, 0, 0)


async def test_the_nearest_deadline_is_claimed_first_and_a_missed_one_last(shop: Shop) -> None:
    placed = {}
    for name, deadline_s in (("missed", -1.0), ("late", 60.0), ("soon", 5.0), ("held", 6.0)):
        orders = shop.store("a", saga_deadline_s=deadline_s)
        order = await _place(orders, _order(), name)
        assert order is not None
        if name != "held":
            assert await orders.persist(Progress(order).begun().retrying(), park_s=0.0) is not None
        placed[order.id] = name
    other = shop.store("b")
    assert await other.count_pending(10.0) == (4, 3, 1), (
        "a saga that is held, past its deadline or far from it is not near its deadline"
    )
    claimed = [placed[order_id] for _ in range(4) for order_id, _ in await other.claim(1)]
    assert claimed == ["soon", "late", "missed"]


async def test_the_same_key_gets_the_same_answer_after_a_later_cancellation(shop: Shop) -> None:
    orders = shop.store("a")
    order = await _place(orders, _order())
    assert order is not None
    await orders.finish(Progress(order, at=len(CHECKOUT)))
    confirmed = await orders.get(order.id)
    cancellation = await orders.cancel(order, "")
    assert cancellation is not None
    assert cancellation.kind == "cancellation"
    assert confirmed is not None
    assert await orders.load(order.id) == replace(cancellation, order=confirmed)
    await orders.finish(cancellation)
    cancelled = await orders.get(order.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.reason) == ("cancelled", "customer")
    found = await orders.by_key("u1", "k")
    assert found is not None
    assert (found[0].status, found[0].version) == ("confirmed", confirmed.version)


async def test_a_cancellation_of_a_running_saga_requests_its_compensation(shop: Shop) -> None:
    orders = shop.store("a")
    order = await _place(orders, _order())
    assert order is not None
    assert await orders.cancel(order, "") is None
    seen = await orders.persist(Progress(order).begun())
    assert seen is not None
    assert seen.cancel_requested


async def test_a_list_starts_with_the_newest_and_shows_only_the_users_orders(shop: Shop) -> None:
    orders = shop.store("a")
    ids = []
    for number in range(5):
        order = await _place(orders, _order(), f"k{number}")
        assert order is not None
        ids.append(order.id)
    await _place(orders, _order("u2"), "other")
    first = await orders.list_of("u1", 3, None)
    assert [order.id for order in first] == ids[:1:-1]
    rest = await orders.list_of("u1", 3, first[-1].id)
    assert [order.id for order in rest] == ids[1::-1]


async def test_an_order_is_stored_with_the_start_of_its_first_step(shop: Shop) -> None:
    placed = await shop.store("a").place(_order(), "k", BODY, "")
    assert placed is not None
    assert placed.stored
    loaded = await shop.store("b").load(placed.order.id)
    assert loaded == replace(placed, stored=False)
    log = await shop.pool.fetch("SELECT step, phase FROM saga_log")
    assert [tuple(row) for row in log] == [(CHECKOUT[0].name, "started")]


async def test_a_saga_that_was_taken_over_is_not_ended_by_its_former_holder(shop: Shop) -> None:
    order = await _place(shop.store("a"), _order())
    assert order is not None
    assert await shop.store("b").finish(Progress(order, at=len(CHECKOUT))) is None
    assert await shop.store("a").get(order.id) == order
    assert await shop.events() == ["OrderPlaced"]


async def test_a_cancellation_requested_after_the_pivot_begins_when_the_order_is_confirmed(
    shop: Shop,
) -> None:
    orders = shop.store("a")
    order = await _place(orders, _order())
    assert order is not None
    assert await orders.cancel(order, "") is None
    ended = await orders.finish(Progress(order, at=len(CHECKOUT)))
    assert ended is not None
    assert ended.order == await orders.get(order.id)
    assert ended.order.status == "confirmed"
    assert ended.cancellation == replace(
        Progress(ended.order, "cancellation", reason="customer"), cancel_requested=False
    )
    loaded = await orders.load(order.id)
    assert loaded == replace(ended.cancellation, cancel_requested=True)
    again = await orders.finish(replace(ended.cancellation, at=2))
    assert again is not None
    assert (again.order.status, again.cancellation) == ("cancelled", None)
    assert await shop.events() == ["OrderPlaced", "OrderConfirmed", "OrderCancelled"]


async def test_a_cancellation_meets_the_end_of_its_saga_in_any_order(shop: Shop) -> None:
    """Either it is requested in time and begins with the confirmation, or it begins by itself: never neither."""
    orders = shop.store("a")
    for number in range(20):
        order = await _place(orders, _order(), f"k{number}")
        assert order is not None
        ended, begun = await asyncio.gather(
            orders.finish(Progress(order, at=len(CHECKOUT))), shop.store("b").cancel(order, "")
        )
        assert ended is not None
        assert (ended.cancellation is None) == (begun is not None)
