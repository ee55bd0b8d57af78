"""Outbox, broker and inbox together, on the real PostgreSQL and the real NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from asyncpg.exceptions._base import DataError as ClientDataError

from chassis.messaging import bus
from chassis.messaging.bus import Bus
from chassis.messaging.effects import Rows
from chassis.messaging.event import AFTER_HEADER, Event
from chassis.messaging.inbox import LAG, Inbox
from chassis.messaging.outbox import Outbox
from chassis.messaging.pull import BATCH
from chassis.postgres.connection import Conn
from tests.fixtures.waiting import wait_until_async


class ThingHappened(Event):
    number: int


async def _put(outbox: Outbox, pool: asyncpg.Pool, *events: Event) -> None:
    async with pool.acquire() as conn, conn.transaction():
        for event in events:
            await outbox.put(conn, event)


def _inbox(pool: asyncpg.Pool, broker: Bus, handler: Any, **switches: bool) -> tuple[Inbox, str]:
    service = f"test-{uuid4()}"
    return Inbox(service, pool, broker, {ThingHappened: handler}, **switches), service


async def test_events_arrive_in_order_and_once(pool: asyncpg.Pool, broker: Bus) -> None:
    seen: list[int] = []

    async def handler(conn: Conn, event: ThingHappened) -> None:
        seen.append(event.number)

    outbox = Outbox(pool, broker)
    inbox, _ = _inbox(pool, broker, handler)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (outbox.relay(), outbox.relay(), inbox.run())]
        events = [ThingHappened(aggregate_id="a", number=n) for n in range(50)]
        for event in events:
            await _put(outbox, pool, event)
        await wait_until_async(lambda: len(seen) >= 50, "50 events")
        # the same events again, as after a lost acknowledgement
        for event in events[:5]:
            payload = event.model_dump_json().encode()
            await broker.publish("events.ThingHappened", payload, str(uuid4()), {})
        marker = ThingHappened(aggregate_id="a", number=99)
        await _put(outbox, pool, marker)
        await wait_until_async(lambda: 99 in seen, "the marker")
        for task in tasks:
            task.cancel()
    assert seen == [*range(50), 99]


async def test_a_message_names_the_earlier_events_of_its_aggregate(
    pool: asyncpg.Pool, broker: Bus
) -> None:
    outbox = Outbox(pool, broker)
    first, second, third = (ThingHappened(aggregate_id="a", number=n) for n in range(3))
    await _put(outbox, pool, first, ThingHappened(aggregate_id="b", number=9), second, third)
    task = asyncio.create_task(outbox.relay())
    await wait_until_async(lambda: _published(broker, 4), "four published events")
    task.cancel()
    newest = (await broker.js.stream_info(bus.EVENTS)).state.last_seq
    messages = [await broker.js.get_msg(bus.EVENTS, newest - n) for n in (3, 2, 1, 0)]
    after = [(each.headers or {}).get(AFTER_HEADER) for each in messages]
    name = "ThingHappened"
    assert after == [None, None, f"{name}:{first.event_id}", f"{name}:{second.event_id}"]


async def _published(broker: Bus, count: int) -> bool:
    return (await broker.js.stream_info(bus.EVENTS)).state.messages >= count


async def _deliver(broker: Bus, event: ThingHappened, after: str = "") -> None:
    headers = {AFTER_HEADER: after} if after else {}
    payload = event.model_dump_json().encode()
    await broker.publish("events.ThingHappened", payload, event.event_id, headers)


@asynccontextmanager
async def consuming(pool: asyncpg.Pool, broker: Bus, poison: int = 0) -> AsyncIterator[list[int]]:
    """The numbers of the events that took effect, in order. The handler of number `poison` fails."""
    seen: list[int] = []

    async def handler(conn: Conn, event: ThingHappened) -> None:
        if event.number == poison:
            raise ValueError("poison")
        seen.append(event.number)

    inbox, _ = _inbox(pool, broker, handler)
    task = asyncio.create_task(inbox.run())
    try:
        yield seen
    finally:
        task.cancel()


async def test_an_event_that_overtook_an_earlier_one_of_its_aggregate_waits_for_it(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.EARLIER_RETRY_S", 0.1)
    first, second = (ThingHappened(aggregate_id="a", number=n) for n in (1, 2))
    async with consuming(pool, broker) as seen:
        await _deliver(broker, second, f"Unheard:x,ThingHappened:{first.event_id}")
        await _deliver(broker, ThingHappened(aggregate_id="b", number=9))
        await wait_until_async(lambda: 9 in seen, "the event of another aggregate")
        await _deliver(broker, first)
        await wait_until_async(lambda: 2 in seen, "the later event")
    assert seen == [9, 1, 2]


async def test_the_wait_for_an_earlier_event_is_limited(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.EARLIER_RETRY_S", 0.05)
    monkeypatch.setattr("chassis.messaging.inbox.EARLIER_DELIVERIES_MAX", 3)
    async with consuming(pool, broker) as seen:
        await _deliver(broker, ThingHappened(aggregate_id="a", number=2), "ThingHappened:lost")
        await wait_until_async(lambda: seen, "the event")
    assert seen == [2]
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 1


async def test_no_event_waits_for_a_dead_letter(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 1)
    first, second = (ThingHappened(aggregate_id="a", number=n) for n in (1, 2))
    async with consuming(pool, broker, poison=1) as seen:
        await _deliver(broker, first)
        await wait_until_async(lambda: _dead(broker), "a dead letter")
        await _deliver(broker, second, f"ThingHappened:{first.event_id}")
        await wait_until_async(lambda: seen, "the later event")
    assert seen == [2]


async def test_a_rolled_back_change_publishes_nothing(pool: asyncpg.Pool, broker: Bus) -> None:
    outbox = Outbox(pool, broker)
    with pytest.raises(RuntimeError):
        async with pool.acquire() as conn, conn.transaction():
            await outbox.put(conn, ThingHappened(aggregate_id="a", number=1))
            raise RuntimeError("no")
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_failing_handler_leaves_no_effect_and_ends_as_a_dead_letter(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 3)
    tries = 0

    async def handler(conn: Conn, event: ThingHappened) -> None:
        nonlocal tries
        tries += 1
        await conn.execute("INSERT INTO idempotency VALUES ('effect', 'x', '')")
        raise ValueError("poison")

    inbox, service = _inbox(pool, broker, handler)
    task = asyncio.create_task(inbox.run())
    await broker.publish(
        "events.ThingHappened",
        ThingHappened(aggregate_id="a", number=1).model_dump_json().encode(),
        "p",
        {},
    )
    await wait_until_async(lambda: _dead(broker), "a dead letter")
    task.cancel()
    assert tries == 3
    assert await pool.fetchval("SELECT count(*) FROM idempotency") == 0
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 0
    letter = await broker.js.get_last_msg(bus.DEAD, f"dead.{service}.ThingHappened")
    assert "poison" in (letter.headers or {})["Reason"]


@pytest.mark.parametrize("durable", [True, False])
async def test_without_a_durable_consumer_an_event_of_the_outage_is_lost(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.ACK_WAIT_S", 0.3)  # a cancelled fetch may get 2
    seen: list[int] = []

    async def handler(conn: Conn, event: ThingHappened) -> None:
        seen.append(event.number)

    async def happened(number: int) -> None:
        event = ThingHappened(aggregate_id="a", number=number)
        await broker.publish(
            "events.ThingHappened", event.model_dump_json().encode(), event.event_id, {}
        )

    inbox, service = _inbox(pool, broker, handler, durable=durable)

    async def consumes() -> bool:
        return bool(await broker.js.consumers_info(bus.EVENTS))

    first = asyncio.create_task(inbox.run())
    await wait_until_async(consumes, "the consumer")
    await happened(1)
    await wait_until_async(lambda: seen == [1], "the event before the outage")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    for each in await broker.js.consumers_info(bus.EVENTS):
        if each.name != service:  # the broker forgets such a consumer after some seconds
            await broker.js.delete_consumer(bus.EVENTS, each.name)
    await happened(2)
    second = asyncio.create_task(inbox.run())
    await wait_until_async(consumes, "the consumer")
    await happened(3)
    expected = [1, 2, 3] if durable else [1, 3]
    await wait_until_async(lambda: sorted(seen) == expected, "the events")
    second.cancel()


@pytest.mark.parametrize("error", [ValueError("poison"), ClientDataError("a value")], ids=repr)
@pytest.mark.parametrize("dead_letters", [True, False])
async def test_without_dead_letters_every_event_waits_for_the_one_that_fails(
    pool: asyncpg.Pool,
    broker: Bus,
    monkeypatch: pytest.MonkeyPatch,
    dead_letters: bool,
    error: Exception,
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 2)
    monkeypatch.setattr("chassis.messaging.inbox.STUCK_RETRY_S", 0.01)
    tries, seen = 0, 0

    async def handler(conn: Conn, event: ThingHappened) -> None:
        nonlocal tries, seen
        if event.number == 1:
            tries += 1
            raise error
        seen += 1

    inbox, _ = _inbox(pool, broker, handler, dead_letters=dead_letters)
    for number, aggregate in ((1, "a"), (2, "b")):
        event = ThingHappened(aggregate_id=aggregate, number=number)
        payload = event.model_dump_json().encode()
        await broker.publish("events.ThingHappened", payload, event.event_id, {})
    task = asyncio.create_task(inbox.run())
    if dead_letters:
        await wait_until_async(lambda: _dead(broker), "a dead letter")
        await wait_until_async(lambda: seen == 1, "the other event")
    else:
        await wait_until_async(lambda: tries > 10, "ten tries")
        assert (seen, await _dead(broker)) == (0, 0)
    task.cancel()


async def _dead(broker: Bus) -> int:
    return (await broker.js.stream_info(bus.DEAD)).state.messages


async def test_a_malformed_message_becomes_a_dead_letter_at_once(
    pool: asyncpg.Pool, broker: Bus
) -> None:
    async def handler(conn: Conn, event: ThingHappened) -> None:
        raise AssertionError("garbage reached the handler")

    inbox, _ = _inbox(pool, broker, handler)
    task = asyncio.create_task(inbox.run())
    await broker.publish("events.ThingHappened", b"\xff not json", "g", {})
    assert await wait_until_async(lambda: _dead(broker), "a dead letter") == 1
    task.cancel()


async def test_without_an_outbox_a_dead_broker_loses_the_event(
    pool: asyncpg.Pool, nats: str
) -> None:
    client = await bus.connect(nats, "test")
    outbox = Outbox(pool, Bus(client), enabled=False)
    await client.close()
    await _put(outbox, pool, ThingHappened(aggregate_id="a", number=1))
    await wait_until_async(lambda: not outbox._direct, "no event to publish")
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize(
    "sqlstate", ["53100", "53200", "53300", "57014", "57P01", "57P03", "25006", "40001", "58030"]
)
async def test_a_store_that_cannot_work_costs_no_delivery_attempt(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 1)
    monkeypatch.setattr("chassis.messaging.inbox.STORE_PAUSE_S", 0.01)
    tries = 0

    async def handler(conn: Conn, event: ThingHappened) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            await conn.execute(f"DO $$BEGIN RAISE 'down' USING ERRCODE = '{sqlstate}'; END$$")

    inbox, _ = _inbox(pool, broker, handler)
    task = asyncio.create_task(inbox.run())
    event = ThingHappened(aggregate_id="a", number=1)
    await broker.publish("events.ThingHappened", event.model_dump_json().encode(), str(uuid4()), {})

    async def handled() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM inbox"))

    await wait_until_async(handled, "the event to be handled")
    task.cancel()
    assert tries == 4
    assert await _dead(broker) == 0


async def test_a_value_that_the_store_cannot_hold_is_the_events_fault(
    pool: asyncpg.Pool, broker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 2)

    async def handler(conn: Conn, event: ThingHappened) -> None:
        await conn.execute("SELECT $1::text", "\ud800")

    inbox, _ = _inbox(pool, broker, handler)
    task = asyncio.create_task(inbox.run())
    event = ThingHappened(aggregate_id="a", number=1)
    await broker.publish("events.ThingHappened", event.model_dump_json().encode(), str(uuid4()), {})
    assert await wait_until_async(lambda: _dead(broker), "a dead letter") == 1
    task.cancel()


class Stored:
    """Handles events by rows of the table `numbers`. A negative number cannot be composed."""

    def __init__(self) -> None:
        self.statements: list[int] = []  # rows that each statement has stored

    @property
    def handler(self) -> Rows:
        insert = """
            INSERT INTO numbers (event_id, number, text, traceparent)
            SELECT * FROM unnest($4::text[], $5::int[], $6::text[], $7::text[])
                 AS new (event_id, number, text, traceparent)
            WHERE event_id IN (SELECT event_id FROM fresh) RETURNING event_id"""

        def row(event: ThingHappened, traceparent: str) -> tuple[str, int, str, str]:
            if event.number < 0:
                raise ValueError("it cannot be composed")
            return event.event_id, event.number, event.aggregate_id, traceparent

        return Rows(insert, row, lambda rows: self.statements.append(len(rows)))


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> Stored:
    await pool.execute(
        "CREATE TABLE numbers (id serial, event_id text, number int UNIQUE, text text, traceparent text)"
    )
    return Stored()


async def _numbers(pool: asyncpg.Pool) -> list[int]:
    return [row["number"] for row in await pool.fetch("SELECT number FROM numbers ORDER BY id")]


def _things(*numbers: int) -> list[ThingHappened]:
    return [ThingHappened(aggregate_id=f"a{number}", number=number) for number in numbers]


@asynccontextmanager
async def storing(pool: asyncpg.Pool, broker: Bus, stored: Stored) -> AsyncIterator[None]:
    inbox, _ = _inbox(pool, broker, stored.handler)
    task = asyncio.create_task(inbox.run())
    try:
        yield
    finally:
        task.cancel()


async def test_events_that_wait_together_are_stored_by_one_statement(
    pool: asyncpg.Pool, broker: Bus, stored: Stored
) -> None:
    for event in _things(*range(10)):
        await _deliver(broker, event)
    async with storing(pool, broker, stored):
        await wait_until_async(lambda: sum(stored.statements) == 10, "ten rows")
    assert await _numbers(pool) == list(range(10))
    assert len(stored.statements) < 5
    assert await pool.fetchval("SELECT count(*) FROM inbox") == 10


@pytest.mark.parametrize("bad", ["row", "value"])
async def test_a_bad_event_does_not_harm_the_others_of_its_batch(
    pool: asyncpg.Pool, broker: Bus, stored: Stored, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 2)
    events = _things(1, 2, 3)
    if bad == "row":
        events[1] = ThingHappened(aggregate_id="a", number=-1)
    else:  # PostgreSQL stores no NUL
        events[1] = ThingHappened(aggregate_id="\0", number=2)
    for event in events:
        await _deliver(broker, event)
    await broker.publish("events.ThingHappened", b"{}", str(uuid4()), {})
    for event in _things(4, 5):
        await _deliver(broker, event)
    async with storing(pool, broker, stored):
        await wait_until_async(lambda: sum(stored.statements) == 4, "the good ones")

        async def two_dead() -> bool:
            return await _dead(broker) == 2

        await wait_until_async(two_dead, "two dead letters")
    assert await _numbers(pool) == [1, 3, 4, 5]


async def test_a_batch_keeps_the_order_of_an_aggregate_and_stores_no_event_twice(
    pool: asyncpg.Pool, broker: Bus, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.EARLIER_RETRY_S", 0.1)
    first, second, third, missing = _things(1, 2, 3, 4)
    name = "ThingHappened"
    await _deliver(broker, third, f"{name}:{missing.event_id}")
    await _deliver(broker, first)
    payload = first.model_dump_json().encode()
    await broker.publish(f"events.{name}", payload, str(uuid4()), {})
    await _deliver(broker, second, f"{name}:{first.event_id}")
    async with storing(pool, broker, stored):
        await wait_until_async(lambda: sum(stored.statements) == 2, "the first two")
        assert await _numbers(pool) == [1, 2]
        await _deliver(broker, missing)
        await wait_until_async(lambda: sum(stored.statements) == 4, "all four")
    assert await _numbers(pool) == [1, 2, 4, 3]


async def test_a_store_that_is_down_costs_no_event_of_a_batch_an_attempt(
    pool: asyncpg.Pool, broker: Bus, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.messaging.inbox.DELIVERIES_MAX", 1)
    monkeypatch.setattr("chassis.messaging.inbox.STORE_PAUSE_S", 0.01)
    await pool.execute("CREATE SEQUENCE tries")
    await pool.execute(
        """CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        IF nextval('tries') < 4 THEN RAISE 'down' USING ERRCODE = '53100'; END IF; RETURN NEW; END$$"""
    )
    await pool.execute("CREATE TRIGGER t BEFORE INSERT ON numbers EXECUTE FUNCTION fail()")
    for event in _things(1, 2, 3):
        await _deliver(broker, event)
    async with storing(pool, broker, stored):
        await wait_until_async(lambda: sum(stored.statements) == 3, "all three")
    assert sorted(await _numbers(pool)) == [1, 2, 3]
    assert await _dead(broker) == 0


async def test_each_row_has_the_trace_of_its_event(
    pool: asyncpg.Pool, broker: Bus, stored: Stored
) -> None:
    ids = [f"{number:032x}" for number in (1, 2, 3)]
    for trace_id, event in zip(ids, _things(1, 2, 3), strict=True):
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        payload = event.model_dump_json().encode()
        await broker.publish("events.ThingHappened", payload, event.event_id, headers)
    async with storing(pool, broker, stored):
        await wait_until_async(lambda: sum(stored.statements) == 3, "three rows")
    rows = await pool.fetch("SELECT traceparent FROM numbers ORDER BY id")
    assert [row["traceparent"][3:35] for row in rows] == ids


async def test_events_arrive_after_the_broker_has_closed_the_connection(
    pool: asyncpg.Pool, broker: Bus, nats: str, stored: Stored
) -> None:
    client = await bus.connect(nats, "consumer")
    async with storing(pool, Bus(client), stored):
        await _deliver(broker, _things(1)[0])
        await wait_until_async(lambda: sum(stored.statements) == 1, "the first")
        assert client._transport is not None
        client._transport.close()
        await _deliver(broker, _things(2)[0])
        await wait_until_async(lambda: sum(stored.statements) == 2, "the second")
    await client.close()


async def test_the_lag_counts_events_that_are_not_delivered_yet(
    pool: asyncpg.Pool, broker: Bus
) -> None:
    gate = asyncio.Event()

    async def handler(conn: Conn, event: ThingHappened) -> None:
        await gate.wait()

    inbox, _ = _inbox(pool, broker, handler)
    for event in _things(*range(2 * BATCH)):
        await _deliver(broker, event)
    task = asyncio.create_task(inbox.run())
    await wait_until_async(lambda: LAG._value.get() == 2 * BATCH, "the lag")
    await _deliver(broker, ThingHappened(aggregate_id="a", number=99))
    await wait_until_async(lambda: LAG._value.get() == 2 * BATCH + 1, "one more")
    gate.set()
    await wait_until_async(lambda: LAG._value.get() == 0, "no lag")
    task.cancel()
