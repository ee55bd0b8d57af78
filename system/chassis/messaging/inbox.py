"""Deduplicating inbox: each event has exactly one effect, committed together with the record of the event.

The events of an aggregate take effect in order. The broker delivers in order, but redelivers a lost event after
its successors. The successors then wait for it.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from asyncpg import Pool
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy
from opentelemetry.trace import Span, SpanKind
from pydantic import ValidationError

from chassis.background import until_beat_s
from chassis.faults import DROPPED, AckLostError, Exchange, Injector, PostponedError, armed
from chassis.messaging.bus import EVENTS, UNREACHABLE, Bus
from chassis.messaging.effects import EARLY, Consumed, Handler, can_join, take_effect
from chassis.messaging.event import AFTER_HEADER, Event
from chassis.messaging.pull import Pull
from chassis.telemetry import signals
from chassis.telemetry.histogram import Histogram
from chassis.telemetry.metrics import counter, expose, gauge
from chassis.unavailable import store_is_down

log = logging.getLogger("chassis.inbox")
LAG = gauge("inbox_lag", "Events waiting or in progress for this service")
HANDLED = counter("inbox_events", "Events consumed from the broker", ("type", "result"))
REDELIVERED = counter("inbox_redeliveries", "Deliveries that were not the first", ("type",))
HANDLING_SECONDS = Histogram("inbox_handling_seconds", "Time to handle an event", ("type",))
# all series start at 0: Prometheus does not count a first sample of 1 as an increase
RESULTS = ("handled", "duplicate", "dropped", "dead")
LAG_S = 1.0
ACK_WAIT_S = 10.0
DELIVERIES_MAX = 5
STUCK_RETRY_S = 0.2
STORE_PAUSE_S = 1.0
EARLIER_RETRY_S = 0.5
EARLIER_DELIVERIES_MAX = 40  # twice ACK_WAIT_S: by then the earlier event is a dead letter or lost


class MalformedError(Exception):
    """The message is not an event of its kind."""


class StuckError(Exception):
    """The event failed, and there are no dead letters."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message with its event; without one the message is not an event of its kind."""

    message: Msg
    kind: str
    consumed: Consumed | None
    problem: str = ""


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
                pull = await self._open_pull()
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._consume(pull))
                        both.create_task(self._watch_lag(pull))
                finally:
                    await pull.close()
            except* UNREACHABLE as errors:
                error = errors.exceptions[0]
                log.warning("inbox waits for the broker: %s", error or type(error).__name__)
                await asyncio.sleep(0.5)

    async def _open_pull(self) -> Pull:
        config = ConsumerConfig(
            durable_name=self._service if self._durable else None,
            deliver_policy=DeliverPolicy.ALL if self._durable else DeliverPolicy.NEW,
            filter_subjects=[f"events.{name}" for name in self._handlers],
            ack_wait=ACK_WAIT_S,
            max_ack_pending=256,
        )
        consumer = await self._bus.js.add_consumer(EVENTS, config)
        pull = Pull(self._bus.client, self._bus.js, EVENTS, consumer.name)
        await pull.open()
        return pull

    async def _consume(self, pull: Pull) -> None:
        while True:
            for group in self._groups(map(self._read, await pull.batch())):
                started = time.perf_counter()
                for kind, acknowledged in await self._process_in_place(group):
                    HANDLING_SECONDS.labels(kind).observe(time.perf_counter() - started)
                    pull.finished(acknowledged)

    async def _watch_lag(self, pull: Pull) -> None:
        while True:
            LAG.set(await pull.lag())
            await asyncio.sleep(until_beat_s(LAG_S))

    def _read(self, message: Msg) -> Delivery:
        kind = message.subject.rpartition(".")[2]
        event_class, handler = self._handlers[kind]
        try:
            event = event_class.model_validate_json(message.data)
        except ValidationError as error:
            return Delivery(message, kind, None, f"not a {kind}: {error.error_count()} errors")
        return Delivery(message, kind, Consumed(event, handler, self._required_events(message)))

    def _groups(self, deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
        """Neighbours that one statement can store; each alone with a fault, or if a failure stops later events."""
        group: list[Delivery] = []
        alone = bool(armed()) or not self._dead_letters
        for each in deliveries:
            known = [one.consumed for one in group if one.consumed]
            if group and (
                alone or not each.consumed or not known or not can_join(known, each.consumed)
            ):
                yield group
                group = []
            group.append(each)
        if group:
            yield group

    async def _process_in_place(self, group: list[Delivery]) -> list[tuple[str, bool]]:
        """Process the messages; without dead letters, again until it succeeds, while later ones wait.

        Returns the kind of each and whether it is acknowledged.
        """
        while True:
            try:
                return await self._process(group)
            except StuckError as stuck:
                log.warning("%s, and later events wait", stuck)
                await group[0].message.in_progress()
                await asyncio.sleep(STUCK_RETRY_S)

    async def _process(self, group: list[Delivery]) -> list[tuple[str, bool]]:
        spans = [self._start_span(each, len(group)) for each in group]
        try:
            with signals.CurrentSpan(spans[0]):
                outcomes = await self._outcomes(group, spans)
            done = []
            for each, span, outcome in zip(group, spans, outcomes, strict=True):
                with signals.CurrentSpan(span):
                    done.append((each.kind, await self._finish(each, outcome)))
            return done
        finally:
            for span in spans:
                span.end()

    def _start_span(self, delivery: Delivery, together: int) -> Span:
        message, kind = delivery.message, delivery.kind
        if message.metadata.num_delivered > 1:
            REDELIVERED.labels(kind).inc()
        parent = signals.propagator.extract(message.headers or {})
        attributes: dict[str, Any] = {
            "messaging.system": "nats", "messaging.destination.name": message.subject,
        }  # fmt: skip
        if together > 1:
            attributes["messaging.batch.message_count"] = together
        return signals.tracer().start_span(f"process {kind}", parent, SpanKind.CONSUMER, attributes)

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

    async def _outcomes(self, group: list[Delivery], spans: list[Span]) -> list[str | Exception]:
        """What became of each event. One that fails does not harm the others of its group."""
        events = [each.consumed for each in group if each.consumed]
        if not events:
            return [MalformedError(group[0].problem)]
        for each, span in zip(events, spans, strict=True):
            with signals.CurrentSpan(span):
                each.traceparent = signals.trace_headers().get("traceparent", "")
        try:
            if len(group) == 1 and (injector := armed()):
                return [await self._with_faults(injector, group[0].message, events[0])]
            return list(await take_effect(self._pool, events))
        except Exception as error:
            if len(group) == 1 or store_is_down(error):
                return [error for _ in group]
        alone = [
            await self._outcomes([each], [span]) for each, span in zip(group, spans, strict=True)
        ]
        return [outcome for (outcome,) in alone]

    async def _with_faults(self, injector: Injector, message: Msg, consumed: Consumed) -> str:
        """Handle the event with the lab's faults. Raises AckLostError, PostponedError."""
        sequence = str(message.metadata.sequence.stream)
        exchange = Exchange("consume", route=message.subject, key=sequence)

        async def proceed(discard: bool) -> str:
            changed = consumed
            if exchange.changes:  # an event that cannot be parsed fails like any other
                payload = exchange.changed(message.data)
                changed = replace(consumed, event=type(consumed.event).model_validate_json(payload))
            (result,) = await take_effect(self._pool, [changed])
            if discard and result != EARLY:
                raise AckLostError
            return result

        result = await injector.run(exchange, proceed)
        return "dropped" if result is DROPPED else str(result)

    async def _finish(self, delivery: Delivery, outcome: str | Exception) -> bool:
        """Acknowledge the message, or have it delivered again; whether it is acknowledged. Raises StuckError."""
        message, consumed = delivery.message, delivery.consumed
        if consumed is None:
            await self._dead_letter(message, delivery.kind, str(outcome))
            return True
        event_id = consumed.event.event_id
        match outcome:
            case str() if outcome != EARLY:
                self._failures.pop(event_id, None)
                HANDLED.labels(delivery.kind, outcome).inc()
                await message.ack()
                return True
            case str():
                await message.nak(delay=EARLIER_RETRY_S)
            case AckLostError():
                pass
            case PostponedError():
                await message.nak(delay=outcome.delay_s)
            case _ if store_is_down(outcome):  # not the event's failure: it costs no attempt
                log.warning("event %s waits for the store: %s", event_id, outcome)
                await message.nak(delay=STORE_PAUSE_S)
            case _ if not self._dead_letters:
                raise StuckError(f"event {event_id} failed: {outcome}") from outcome
            case _:
                return await self._failed(message, delivery.kind, event_id, outcome)
        return False

    async def _failed(self, message: Msg, kind: str, event_id: str, error: Exception) -> bool:
        count = self._failures[event_id] = self._failures.get(event_id, 0) + 1
        if count < DELIVERIES_MAX:
            log.warning(
                "event %s failed (%d of %d)", event_id, count, DELIVERIES_MAX, exc_info=error
            )
            await message.nak(delay=0.2 * 2**count)
            return False
        self._failures.pop(event_id, None)
        await self._dead_letter(message, kind, f"{type(error).__name__}: {error}")
        return True

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
