"""Transactional outbox: an event is committed with its change, then relayed to the broker at least once."""

# ruff: noqa: S608 - the f-strings below insert parts of statements that are constants

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from asyncpg import Pool, Record
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from chassis.background import until_beat_s
from chassis.messaging.bus import UNREACHABLE, Bus
from chassis.messaging.event import AFTER_HEADER, Event
from chassis.postgres.connection import Conn
from chassis.telemetry import signals
from chassis.telemetry.metrics import counter, expose, gauge

log = logging.getLogger("chassis.outbox")
PENDING = gauge("outbox_pending", "Committed events not yet published")
OLDEST_AGE = gauge("outbox_oldest_age_seconds", "Age of the oldest event not yet published")
PUBLISHED = counter("outbox_published", "Events published to the broker", ("type",))
BATCH = 100
IDLE_S = 1.0  # interval to look for events that another instance left unpublished
COMMIT_S = 0.03  # from put() to the next batch: the transaction must commit
PERIOD_S = 0.2  # between batches, so that a busy shop shares their statements
RETRY_S = 0.25

_COUNT = """
SELECT count(*) AS pending, coalesce(extract(epoch FROM now() - min(created_at)), 0) AS oldest_s
FROM outbox WHERE published_at IS NULL
"""
# The lock is the session's, so that no transaction stays open while the broker answers.
_TAKE = """
SELECT lock.locked, pending.*
FROM (SELECT pg_try_advisory_lock(hashtext('outbox')) AS locked) AS lock
LEFT JOIN LATERAL (
    SELECT id, event_id, type, aggregate_id, payload, traceparent, (
        SELECT string_agg(type || ':' || event_id, ',' ORDER BY type) FROM (
            SELECT DISTINCT ON (type) type, event_id FROM outbox AS earlier
            WHERE earlier.aggregate_id = outbox.aggregate_id AND earlier.id < outbox.id
            ORDER BY type, id DESC) AS last_of_its_type
    ) AS after FROM outbox
    WHERE lock.locked AND published_at IS NULL ORDER BY id LIMIT $1
) AS pending ON true
"""
_PUBLISHED = """
WITH published AS (UPDATE outbox SET published_at = now() WHERE id = ANY($1::text[]::bigint[]) RETURNING id)
SELECT count(*), pg_advisory_unlock(hashtext('outbox')) FROM published
"""


def insert_events(first: int, source: str) -> str:
    """The part of a statement for `Outbox.fetchrow` that stores its events, once for each row of `source`.

    Its parameters are the statement's last five, from `$first` on.
    """
    arrays = ", ".join(f"${first + n}::text[]" for n in range(1, 5))
    return (
        "INSERT INTO outbox (traceparent, event_id, type, aggregate_id, payload) "
        f"SELECT ${first}, event.* FROM {source}, unnest({arrays}) AS event"
    )


_PUT = insert_events(1, "(SELECT) AS once")


class Outbox:
    """Stores events with their change, by `fetchrow` or `put`; `relay` runs in the background.

    With `enabled=False` (the lab's OUTBOX=off) events are published directly, as services without an
    outbox do: a crash or a dead broker between commit and publish loses them.
    """

    def __init__(self, pool: Pool, bus: Bus, *, enabled: bool = True) -> None:
        self._pool = pool
        self._bus = bus
        self._enabled = enabled
        self._hint = asyncio.Event()
        self._direct: set[asyncio.Task[None]] = set()
        expose(PENDING, OLDEST_AGE, PUBLISHED)

    async def fetchrow(self, statement: str, *args: Any, events: Sequence[Event]) -> Record | None:
        """Run a statement that contains `insert_events`; None if it changed, and stored, nothing."""
        # same statement as the change, or an event can be lost
        row = await self._pool.fetchrow(statement, *args, *self._columns(events))
        if row is not None and self._stored(events):
            self._hint.set()
        return row

    async def put(self, conn: Conn, event: Event) -> None:
        """Store `event` in the transaction of `conn`."""
        # same transaction as the change, or an event can be lost
        await conn.execute(_PUT, *self._columns([event]))
        if self._stored([event]):
            asyncio.get_running_loop().call_later(COMMIT_S, self._hint.set)

    def _columns(self, events: Sequence[Event]) -> tuple[Any, ...]:
        """The parameters of `insert_events`."""
        stored = events if self._enabled else ()
        return (
            signals.trace_headers().get("traceparent", ""),
            [event.event_id for event in stored],
            [event.type for event in stored],
            [event.aggregate_id for event in stored],
            [event.model_dump_json() for event in stored],
        )

    def _stored(self, events: Sequence[Event]) -> bool:
        """Whether the relay publishes the events. If not, they are published now."""
        if self._enabled:
            PENDING.inc(len(events))
            return True
        headers = signals.trace_headers()
        for event in events:
            task = asyncio.create_task(self._publish_directly(event, headers))
            self._direct.add(task)
            task.add_done_callback(self._direct.discard)
        return False

    async def relay(self) -> None:
        """Publish pending events, each aggregate's in order, until cancelled.

        The instance with the lock publishes for all.
        """
        while True:
            try:
                if await self._count() or await self._hinted():
                    while await self._relay_batch() or await self._hinted():
                        pass
            except UNREACHABLE as error:
                log.warning("outbox waits for the broker: %s", error or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _hinted(self) -> bool:
        """Wait until this instance stores an event; False at the next beat without one."""
        try:
            await asyncio.wait_for(self._hint.wait(), until_beat_s(IDLE_S))
        except TimeoutError:
            return False
        self._hint.clear()
        return True

    async def _count(self) -> int:
        """The number of events that are pending."""
        (row,) = await self._pool.fetch(_COUNT)
        PENDING.set(row["pending"])
        OLDEST_AGE.set(max(0.0, row["oldest_s"]))
        if not self._bus.connected:
            raise ConnectionError("broker not connected")
        return int(row["pending"])

    async def _relay_batch(self) -> bool:
        """Publish up to BATCH events; returns whether there may be more, else after a pause."""
        async with self._pool.acquire() as conn:
            try:
                # one relay at a time, or two could publish one aggregate's events out of order
                taken = await conn.fetch(_TAKE, BATCH)
                rows = [row for row in taken if row["id"] is not None]
                if locked := taken[0]["locked"]:
                    published, error = await self._publish_in_order(rows)
                    # as texts: asyncpg reads the type of an array of numbers on each new connection
                    await conn.execute(_PUBLISHED, [str(each) for each in published])
            except BaseException:
                conn.terminate()  # it may hold the lock
                raise
        if not locked:
            self._hint.set()  # the holder may have read before our commit: try again
        elif error is not None:
            raise error
        elif len(rows) == BATCH:
            return True
        else:
            PENDING.set(0)
            OLDEST_AGE.set(0)
        await asyncio.sleep(PERIOD_S)
        return False

    async def _publish_in_order(
        self, rows: Sequence[Record]
    ) -> tuple[list[int], BaseException | None]:
        """Publish events, those of one aggregate one after the other; returns (published ids, first error)."""
        aggregates: dict[str, list[Record]] = {}
        for row in rows:
            aggregates.setdefault(row["aggregate_id"], []).append(row)
        published: list[int] = []

        async def publish(events: Sequence[Record]) -> None:
            for row in events:
                await self._publish(
                    row["type"], row["event_id"], row["payload"], row["traceparent"], row["after"]
                )
                published.append(row["id"])

        ends = await asyncio.gather(*map(publish, aggregates.values()), return_exceptions=True)
        return published, next((error for error in ends if error is not None), None)

    async def _publish(
        self, kind: str, event_id: str, payload: str, traceparent: str, after: str | None = None
    ) -> None:
        parent = signals.propagator.extract({"traceparent": traceparent})
        attributes: dict[str, Any] = {
            "messaging.system": "nats", "messaging.destination.name": f"events.{kind}",
            "messaging.message.id": event_id,
        }  # fmt: skip
        with signals.tracer().start_as_current_span(
            f"publish {kind}", parent, SpanKind.PRODUCER, attributes
        ):
            headers = signals.trace_headers()
            if after:
                headers[AFTER_HEADER] = after
            await self._bus.publish(f"events.{kind}", payload.encode(), event_id, headers)
        PUBLISHED.labels(kind).inc()

    async def _publish_directly(self, event: Event, headers: dict[str, str]) -> None:
        token = otel_context.attach(signals.propagator.extract(headers))
        try:
            await asyncio.sleep(COMMIT_S)
            await self._publish(
                event.type, event.event_id, event.model_dump_json(), headers.get("traceparent", "")
            )
        except UNREACHABLE as error:
            trace.get_current_span().record_exception(error)
            log.error("event %s lost: no outbox and no broker (%s)", event.event_id, error)
        finally:
            otel_context.detach(token)
