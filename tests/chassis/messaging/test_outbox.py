"""The outbox on the real PostgreSQL and the real NATS: one statement, one relay, and order within an aggregate."""

import asyncio
from collections.abc import Mapping

import asyncpg
import pytest
from nats.aio.client import Client

from chassis.messaging import bus
from chassis.messaging.bus import Bus
from chassis.messaging.event import Event
from chassis.messaging.outbox import Outbox, insert_events
from tests.fixtures.waiting import wait_until_async


class ThingHappened(Event):
    number: int


async def _put(outbox: Outbox, pool: asyncpg.Pool, *events: Event) -> None:
    async with pool.acquire() as conn, conn.transaction():
        for event in events:
            await outbox.put(conn, event)


async def _published(broker: Bus, count: int) -> bool:
    return (await broker.js.stream_info(bus.EVENTS)).state.messages >= count


class PartlyDeaf(Bus):
    """Refuses the messages in `refused`, and records the order of the others."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.refused: set[str] = set()
        self.sent: list[str] = []
        self.waits: asyncio.Event | None = None

    async def publish(
        self, subject: str, payload: bytes, message_id: str, headers: Mapping[str, str]
    ) -> None:
        if self.waits is not None:
            await self.waits.wait()
        if message_id in self.refused:
            raise TimeoutError("no answer")
        await super().publish(subject, payload, message_id, headers)
        self.sent.append(message_id)


async def test_no_event_overtakes_one_of_its_aggregate_that_cannot_be_published(
    pool: asyncpg.Pool, broker: Bus
) -> None:
    partly = PartlyDeaf(broker.client)
    outbox = Outbox(pool, partly)
    first, second = (ThingHappened(aggregate_id="a", number=n) for n in (1, 2))
    other = ThingHappened(aggregate_id="b", number=3)
    partly.refused.add(first.event_id)
    await _put(outbox, pool, first, second, other)
    relays = [asyncio.create_task(outbox.relay()) for _ in range(2)]
    pending = "SELECT array_agg(event_id ORDER BY id) FROM outbox WHERE published_at IS NULL"

    async def other_is_marked() -> bool:
        return bool(await pool.fetchval(pending) == [first.event_id, second.event_id])

    await wait_until_async(other_is_marked, "the event of the other aggregate")
    assert partly.sent == [other.event_id]
    partly.refused.clear()
    await wait_until_async(lambda: len(partly.sent) == 3, "all events")
    assert partly.sent == [other.event_id, first.event_id, second.event_id]
    for task in relays:
        task.cancel()


async def test_a_relay_that_is_stopped_while_it_publishes_leaves_the_lock_to_another(
    pool: asyncpg.Pool, broker: Bus
) -> None:
    partly = PartlyDeaf(broker.client)
    partly.waits = asyncio.Event()
    stopped = asyncio.create_task(Outbox(pool, partly).relay())
    outbox = Outbox(pool, broker)
    await _put(outbox, pool, ThingHappened(aggregate_id="a", number=1))
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    await wait_until_async(lambda: pool.fetchval(held), "the lock to be held")
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    other = asyncio.create_task(outbox.relay())
    await wait_until_async(lambda: _published(broker, 1), "the event")
    other.cancel()


@pytest.mark.parametrize("enabled", [True, False])
async def test_one_statement_stores_its_events_once_for_each_row_that_it_changes(
    pool: asyncpg.Pool, broker: Bus, enabled: bool
) -> None:
    outbox = Outbox(pool, broker, enabled=enabled)
    relay = asyncio.create_task(outbox.relay())
    insert = f"""
        WITH new AS (
            INSERT INTO inbox (event_id, handler) VALUES ($1, 'h') ON CONFLICT DO NOTHING RETURNING 1
        ), events AS ({insert_events(2, "new")})
        SELECT * FROM new
    """  # noqa: S608 - constants
    events = [ThingHappened(aggregate_id="a", number=n) for n in range(2)]
    assert await outbox.fetchrow(insert, "x", events=events) is not None
    again = [ThingHappened(aggregate_id="a", number=9)]
    assert await outbox.fetchrow(insert, "x", events=again) is None
    await wait_until_async(lambda: _published(broker, 2), "two published events")
    marker = ThingHappened(aggregate_id="a", number=3)
    assert await outbox.fetchrow(insert, "y", events=[marker]) is not None
    await wait_until_async(lambda: _published(broker, 3), "the marker")
    relay.cancel()
    newest = await broker.js.get_last_msg(bus.EVENTS, "events.ThingHappened")
    assert ThingHappened.model_validate_json(newest.data or b"") == marker
    assert await pool.fetchval("SELECT count(*) FROM outbox") == (3 if enabled else 0)
