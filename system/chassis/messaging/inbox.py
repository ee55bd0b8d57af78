"""Deduplicating inbox: each event has exactly one effect, in the transaction that records the event.

The events of an aggregate take effect in order. The broker delivers in order, but redelivers a lost event after
its successors. The successors then wait for it.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asyncpg import Pool
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from chassis.faults import DROPPED, AckLostError, Exchange, Injector, PostponedError, armed
from chassis.messaging.bus import EVENTS, UNREACHABLE, Bus
from chassis.messaging.event import AFTER_HEADER, Event
from chassis.postgres.connection import Conn
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from chassis.unavailable import store_is_down

log = logging.getLogger("chassis.inbox")
Handler = Callable[[Conn, Any], Awaitable[None]]
LAG = gauge("inbox_lag", "Events waiting or in progress for this service")
HANDLED = counter("inbox_events", "Events consumed from the broker", ("type", "result"))
REDELIVERED = counter("inbox_redeliveries", "Deliveries that were not the first", ("type",))
HANDLING_SECONDS = Histogram("inbox_handling_seconds", "Time to handle an event", ("type",))
# all series start at 0: Prometheus does not count a first sample of 1 as an increase
RESULTS = ("handled", "duplicate", "dropped", "dead")
BATCH = 20
FETCH_S = 5.0
LAG_S = 1.0
ACK_WAIT_S = 10.0
DELIVERIES_MAX = 5
STUCK_RETRY_S = 0.2
STORE_PAUSE_S = 1.0
EARLIER_RETRY_S = 0.5
EARLIER_DELIVERIES_MAX = 40  # twice ACK_WAIT_S: by then the earlier event is a dead letter or lost


class TooEarlyError(Exception):
    """An earlier event of the same aggregate has not taken effect yet."""


class StuckError(Exception):
    """The event failed, and there are no dead letters."""


class Inbox:
    """Consumes the events of a service through one durable consumer with the service's name.

    Two protections can be switched off in a lab. Without `durable` the broker keeps no event for a
    service that is down. Without `dead_letters` an event that fails is tried again, before all later ones,
    until it succeeds.
    """

    def __init__(
        self,
        service: str,
        pool: Pool,
        bus: Bus,
        handlers: Mapping[type[Event], Handler],
        *,
        durable: bool = True,
        dead_letters: bool = True,
    ) -> None:
        self._service = service
        self._pool = pool
        self._bus = bus
        self._durable = durable
        self._dead_letters = dead_letters
        self._handlers = {event.__name__: (event, handler) for event, handler in handlers.items()}
        self._failures: dict[str, int] = {}
        self._dead: deque[str] = deque(maxlen=1000)  # ids of dead letters: no event waits for these
        for kind in self._handlers:
            REDELIVERED.labels(kind)
            for result in RESULTS:
                HANDLED.labels(kind, result)
        expose(LAG, HANDLED, REDELIVERED, HANDLING_SECONDS)

    async def run(self) -> None:
        """Consume events until cancelled. While the broker is down, retry."""
        while True:
            try:
                subscription = await self._subscribe()
                await asyncio.gather(self._consume(subscription), self._watch_lag(subscription))
            except UNREACHABLE as error:
                log.warning("inbox waits for the broker: %s", error or type(error).__name__)
                await asyncio.sleep(0.5)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            durable_name=self._service if self._durable else None,
            deliver_policy=DeliverPolicy.ALL if self._durable else DeliverPolicy.NEW,
            filter_subjects=[f"events.{name}" for name in self._handlers],
            ack_wait=ACK_WAIT_S,
            max_ack_pending=256,
        )
        consumer = await self._bus.js.add_consumer(EVENTS, config)
        return await self._bus.js.pull_subscribe_bind(consumer=consumer.name, stream=EVENTS)

    async def _consume(self, subscription: JetStreamContext.PullSubscription) -> None:
        while True:
            try:
                messages = await subscription.fetch(BATCH, timeout=FETCH_S)
            except TimeoutError:
                continue
            for message in messages:
                started = time.perf_counter()
                await self._process_in_place(message)
                kind = message.subject.rpartition(".")[2]
                HANDLING_SECONDS.labels(kind).observe(time.perf_counter() - started)

    async def _process_in_place(self, message: Msg) -> None:
        """Process the message; without dead letters, again until it succeeds, while later ones wait."""
        while True:
            try:
                return await self._process(message)
            except StuckError as stuck:
                log.warning("%s, and later events wait", stuck)
                await message.in_progress()
                await asyncio.sleep(STUCK_RETRY_S)

    async def _watch_lag(self, subscription: JetStreamContext.PullSubscription) -> None:
        while True:
            info = await subscription.consumer_info()
            LAG.set((info.num_pending or 0) + (info.num_ack_pending or 0))
            await asyncio.sleep(LAG_S)

    async def _process(self, message: Msg) -> None:
        kind = message.subject.rpartition(".")[2]
        event_class, handler = self._handlers[kind]
        if message.metadata.num_delivered > 1:
            REDELIVERED.labels(kind).inc()
        parent = signals.propagator.extract(dict(message.headers or {}))
        with signals.tracer().start_as_current_span(
            f"process {kind}", parent, SpanKind.CONSUMER,
            {"messaging.system": "nats", "messaging.destination.name": message.subject},
        ):  # fmt: skip
            try:
                event = event_class.model_validate_json(message.data)
            except ValidationError as error:
                await self._dead_letter(
                    message, kind, f"not a {kind}: {error.error_count()} errors"
                )
                return
            after = self._required_events(message)
            try:
                if injector := armed():
                    result = await self._handle_with_faults(
                        injector, message, event, handler, after
                    )
                else:
                    result = await self._handle(event, handler, after)
            except TooEarlyError:
                await message.nak(delay=EARLIER_RETRY_S)
                return
            except AckLostError:
                return
            except PostponedError as postponed:
                await message.nak(delay=postponed.delay_s)
                return
            except Exception as error:
                if store_is_down(error):  # not the event's failure: it costs no attempt
                    log.warning("event %s waits for the store: %s", event.event_id, error)
                    await message.nak(delay=STORE_PAUSE_S)
                    return
                if not self._dead_letters:
                    raise StuckError(f"event {event.event_id} failed: {error}") from error
                await self._failed(message, kind, event, error)
                return
            self._failures.pop(event.event_id, None)
            HANDLED.labels(kind, result).inc()
            await message.ack()

    def _required_events(self, message: Msg) -> list[str]:
        """The ids of the events that must take effect before this one; empty after EARLIER_DELIVERIES_MAX."""
        header = (message.headers or {}).get(AFTER_HEADER, "")
        pairs = (pair.split(":", 1) for pair in header.split(",") if ":" in pair)
        known = [event_id for kind, event_id in pairs if kind in self._handlers]
        ids = [event_id for event_id in known if event_id not in self._dead]
        if ids and message.metadata.num_delivered > EARLIER_DELIVERIES_MAX:
            log.error(
                "event %s is handled before one of %s, which did not arrive", message.subject, ids
            )
            return []
        return ids

    async def _handle(self, event: Event, handler: Handler, after: list[str]) -> str:
        async with self._pool.acquire() as conn, conn.transaction():
            if after:
                query = "SELECT count(*) FROM inbox WHERE event_id = ANY($1)"
                if await conn.fetchval(query, after) < len(after):
                    raise TooEarlyError
            fresh = await conn.fetchval(
                "INSERT INTO inbox (event_id, handler) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
                event.event_id, event.type,
            )  # fmt: skip
            if not fresh:
                return "duplicate"
            await handler(conn, event)
            return "handled"

    async def _handle_with_faults(
        self, injector: Injector, message: Msg, event: Event, handler: Handler, after: list[str]
    ) -> str:
        """Handle the event with the lab's faults. Raises AckLostError, PostponedError, TooEarlyError."""
        sequence = str(message.metadata.sequence.stream)
        exchange = Exchange("consume", route=message.subject, key=sequence)

        async def proceed(discard: bool) -> str:
            changed = event
            if exchange.changes:  # an event that cannot be parsed fails like any other
                changed = type(event).model_validate_json(exchange.changed(message.data))
            result = await self._handle(changed, handler, after)
            if discard:
                raise AckLostError
            return result

        result = await injector.run(exchange, proceed)
        return "dropped" if result is DROPPED else str(result)

    async def _failed(self, message: Msg, kind: str, event: Event, error: Exception) -> None:
        count = self._failures[event.event_id] = self._failures.get(event.event_id, 0) + 1
        if count < DELIVERIES_MAX:
            log.warning(
                "event %s failed (%d of %d)", event.event_id, count, DELIVERIES_MAX, exc_info=error
            )
            await message.nak(delay=0.2 * 2**count)
            return
        self._failures.pop(event.event_id, None)
        await self._dead_letter(message, kind, f"{type(error).__name__}: {error}")

    async def _dead_letter(self, message: Msg, kind: str, reason: str) -> None:
        """Publish the message as a dead letter with the reason, then remove it from the stream."""
        log.error("dead letter %s: %s", kind, reason)
        self._dead.append((message.headers or {}).get("Nats-Msg-Id", ""))
        sequence = message.metadata.sequence.stream
        await self._bus.publish(
            f"dead.{self._service}.{kind}",
            message.data,
            f"{self._service}-{sequence}",
            {"Reason": json.dumps(reason)[:500], "Original-Subject": message.subject},
        )
        HANDLED.labels(kind, "dead").inc()
        await message.term()
