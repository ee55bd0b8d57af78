"""Transactional outbox: an event is committed with its change, then relayed to the broker at least once."""

import asyncio
import logging
from typing import Any

from asyncpg import Pool
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

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
HINT_S = 0.03  # from put() to the next batch: the transaction must commit, others may join
RETRY_S = 0.25

_INSERT = (
    "INSERT INTO outbox (event_id, type, aggregate_id, payload, traceparent) "
    "VALUES ($1, $2, $3, $4, $5)"
)
_COUNT = """
SELECT count(*) AS pending, coalesce(extract(epoch FROM now() - min(created_at)), 0) AS oldest_s
FROM outbox WHERE published_at IS NULL
"""
_TAKE = """
SELECT lock.locked, pending.*
FROM (SELECT pg_try_advisory_xact_lock(hashtext('outbox')) AS locked) AS lock
LEFT JOIN LATERAL (
    SELECT id, event_id, type, payload, traceparent, (
        SELECT string_agg(type || ':' || event_id, ',' ORDER BY type) FROM (
            SELECT DISTINCT ON (type) type, event_id FROM outbox AS earlier
            WHERE earlier.aggregate_id = outbox.aggregate_id AND earlier.id < outbox.id
            ORDER BY type, id DESC) AS last_of_its_type
    ) AS after FROM outbox
    WHERE lock.locked AND published_at IS NULL ORDER BY id LIMIT $1
) AS pending ON true
"""
_PUBLISHED = "UPDATE outbox SET published_at = now() WHERE id = ANY($1::bigint[])"


class Outbox:
    """`put` inside the transaction of the change; `relay` runs in the background.

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

    async def put(self, conn: Conn, event: Event) -> None:
        """Store `event` in the transaction of `conn`."""
        headers = signals.trace_headers()
        if not self._enabled:
            task = asyncio.create_task(self._publish_directly(event, headers))
            self._direct.add(task)
            task.add_done_callback(self._direct.discard)
            return
        # same transaction as the change, or an event can be lost
        await conn.execute(
            _INSERT, event.event_id, event.type, event.aggregate_id, event.model_dump_json(),
            headers.get("traceparent", ""),
        )  # fmt: skip
        PENDING.inc()
        self._hint.set()

    async def relay(self) -> None:
        """Publish pending events in order, until cancelled. The instance with the lock publishes for all."""
        while True:
            try:
                await self._count()
                while await self._relay_batch() or await self._hinted():
                    pass
            except UNREACHABLE as error:
                log.warning("outbox waits for the broker: %s", error or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _hinted(self) -> bool:
        """Wait until this instance stores an event; False after IDLE_S without one."""
        try:
            await asyncio.wait_for(self._hint.wait(), IDLE_S)
        except TimeoutError:
            return False
        self._hint.clear()
        await asyncio.sleep(HINT_S)
        return True

    async def _count(self) -> None:
        (row,) = await self._pool.fetch(_COUNT)
        PENDING.set(row["pending"])
        OLDEST_AGE.set(max(0.0, row["oldest_s"]))
        if not self._bus.connected:
            raise ConnectionError("broker not connected")

    async def _relay_batch(self) -> bool:
        """Publish up to BATCH events; returns whether there may be more."""
        async with self._pool.acquire() as conn, conn.transaction():
            # one relay at a time, or two could publish one aggregate's events out of order
            taken = await conn.fetch(_TAKE, BATCH)
            if not taken[0]["locked"]:
                self._hint.set()  # the holder may have read before our commit: try again
                return False
            rows = [row for row in taken if row["id"] is not None]
            for row in rows:
                await self._publish(
                    row["type"], row["event_id"], row["payload"], row["traceparent"], row["after"]
                )
            if rows:
                await conn.execute(_PUBLISHED, [row["id"] for row in rows])
        if len(rows) < BATCH:
            PENDING.set(0)
            OLDEST_AGE.set(0)
        return len(rows) == BATCH

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
            await asyncio.sleep(HINT_S)
            await self._publish(
                event.type, event.event_id, event.model_dump_json(), headers.get("traceparent", "")
            )
        except UNREACHABLE as error:
            trace.get_current_span().record_exception(error)
            log.error("event %s lost: no outbox and no broker (%s)", event.event_id, error)
        finally:
            otel_context.detach(token)
