"""Transactional outbox: an event is committed with its cause, then relayed to the broker at least once."""

import asyncio
import logging
from typing import Any

from asyncpg import Pool
from nats.errors import Error as NatsError
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from prometheus_client import Gauge

from chassis import telemetry
from chassis.idempotency import Conn
from chassis.messaging.bus import Bus
from chassis.messaging.event import Event
from chassis.store import execute_count

log = logging.getLogger("chassis.outbox")
PENDING = Gauge("outbox_pending", "Committed events not yet published")
BATCH = 100
IDLE_S = 1.0  # how soon another instance's leftovers are found
HINT_S = 0.005  # from put() to the first look: the transaction still has to commit
RETRY_S = 0.25
UNREACHABLE = (NatsError, OSError, TimeoutError)

_INSERT = (
    "INSERT INTO outbox (event_id, type, aggregate_id, payload, traceparent) "
    "VALUES ($1, $2, $3, $4, $5)"
)


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

    async def put(self, conn: Conn, event: Event) -> None:
        """Commit `event` with whatever else `conn`'s transaction does."""
        headers = telemetry.trace_headers()
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
        self._hint.set()

    async def relay(self) -> None:
        """Publish what is pending, in order, for ever; whoever holds the lock publishes for all."""
        while True:
            try:
                moved = await self._relay_batch()
                if moved < BATCH:
                    await self._wait()
            except UNREACHABLE as error:
                log.warning("outbox waits: %s", error or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._hint.wait(), IDLE_S)
        except TimeoutError:
            return
        self._hint.clear()
        await asyncio.sleep(HINT_S)

    async def _relay_batch(self) -> int:
        async with self._pool.acquire() as conn:
            pending: int = await conn.fetchval(
                "SELECT count(*) FROM outbox WHERE published_at IS NULL"
            )
            PENDING.set(pending)
            if not pending:
                return 0
            if not self._bus.connected:
                raise ConnectionError("broker not connected")
            async with conn.transaction():
                # one relay at a time, or two could publish one aggregate's events out of order
                if not await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('outbox'))"):
                    self._hint.set()  # the holder may have read before our commit: look again
                    return 0
                rows = await conn.fetch(
                    "SELECT id, event_id, type, payload, traceparent FROM outbox "
                    "WHERE published_at IS NULL ORDER BY id LIMIT $1",
                    BATCH,
                )
                for row in rows:
                    await self._publish(
                        row["type"], row["event_id"], row["payload"], row["traceparent"]
                    )
                tag = await conn.execute(
                    "UPDATE outbox SET published_at = now() WHERE id = ANY($1::bigint[])",
                    [row["id"] for row in rows],
                )
            PENDING.set(max(0, pending - len(rows)))
            return execute_count(tag)

    async def _publish(self, kind: str, event_id: str, payload: str, traceparent: str) -> None:
        parent = telemetry.propagator.extract({"traceparent": traceparent})
        attributes: dict[str, Any] = {
            "messaging.system": "nats", "messaging.destination.name": f"events.{kind}",
            "messaging.message.id": event_id,
        }  # fmt: skip
        with telemetry.tracer().start_as_current_span(
            f"publish {kind}", parent, SpanKind.PRODUCER, attributes
        ):
            await self._bus.publish(
                f"events.{kind}", payload.encode(), event_id, telemetry.trace_headers()
            )

    async def _publish_directly(self, event: Event, headers: dict[str, str]) -> None:
        token = otel_context.attach(telemetry.propagator.extract(headers))
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
