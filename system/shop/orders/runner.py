"""Runs sagas: step by step, persisted, fenced by a lease; parks what cannot go on now, resumes what was left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from opentelemetry import context as otel_context

from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.http import context
from chassis.resilience.errors import CallError
from chassis.telemetry import signals
from chassis.telemetry.metrics import counter, expose, gauge
from shop.orders.saga import Ports, Progress, Step, StepRefusedError

log = logging.getLogger("orders.saga")
ACTIVE = gauge("saga_active", "Sagas that this instance is running")
PENDING = gauge("saga_pending", "Sagas of all instances that have not ended")
STEPS = counter("saga_steps", "Steps and compensations tried", ("step", "phase"))
PARK_BASE_S = 0.2
PARK_CAP_S = 3.0
COUNT_EACH_S = 1.0
# What waited is caught up at 2 a second and instance, and after what is under way: new orders are waited for at
# the counter, and a recovered neighbour is not to be overrun. When a deadline comes near, faster. Where new orders
# never rest, one that waited each `SHARE_EACH_S` all the same: what missed its deadline is undone too.
RESUME_EACH_S = 0.5
RESUME_AT_ONCE = 1
SHARE_EACH_S = 5.0
PRESSING_S = 10.0
PRESSED_AT_ONCE = 6
STOP_S = 1.0


class Store(Protocol):
    async def persist(
        self, progress: Progress, *, park_s: float | None = None
    ) -> Progress | None: ...
    async def finish(self, progress: Progress) -> Progress | None: ...
    async def claim(self, limit: int) -> list[tuple[str, str]]: ...
    async def load(self, order_id: str) -> Progress | None: ...
    async def waiting(self, pressing_s: float) -> tuple[int, int]: ...


class SagaRunner:
    """Runs sagas of which this instance holds the lease."""

    def __init__(
        self,
        store: Store,
        ports: Ports,
        clock: Clock,
        record: Callable[..., None],
        rng: Random | None = None,
    ) -> None:
        self._store = store
        self._ports = ports
        self._clock = clock
        self._record = record
        self._rng = rng or Random()
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, progress: Progress, traceparent: str = "") -> asyncio.Task[None]:
        """Go on with a saga whose lease we hold; the task ends when it has ended or is parked."""
        order_id = progress.order.id
        if order_id not in self._running:
            task = asyncio.create_task(self._run_detached(progress, traceparent))
            self._running[order_id] = task
            task.add_done_callback(lambda _: self._running.pop(order_id, None))
        return self._running[order_id]

    async def resume(self) -> None:
        """For ever: take over sagas that are due and that nobody holds."""
        expose(ACTIVE, PENDING, STEPS)
        count_at, share_at, at_once = 0.0, 0.0, RESUME_AT_ONCE
        while True:
            now = self._clock.monotonic()
            if now >= count_at:
                pending, pressing = await self._store.waiting(PRESSING_S)
                PENDING.set(pending)
                at_once = PRESSED_AT_ONCE if pressing else RESUME_AT_ONCE
                count_at = now + COUNT_EACH_S
            free = max(at_once - len(self._running), int(now >= share_at))
            if free > 0:
                share_at = now + SHARE_EACH_S
            for order_id, traceparent in await self._store.claim(free) if free > 0 else ():
                progress = await self._store.load(order_id)
                if progress is not None:
                    self.start(progress, traceparent)
            await self._clock.sleep(RESUME_EACH_S)

    async def stop(self) -> None:
        """Give what is under way a moment to end; what is left is resumed by another instance."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STOP_S)

    async def _run_detached(self, progress: Progress, traceparent: str) -> None:
        """The saga outlives the request that began it: no deadline of its, but its lab options."""
        request = context.current.get()
        context.current.set(context.RequestContext(lab=request.lab if request else ""))
        if traceparent:
            otel_context.attach(signals.propagator.extract({"traceparent": traceparent}))
        ACTIVE.inc()
        try:
            await self.run(progress)
        except Exception:
            # the lease runs out and the saga is resumed: nothing is lost but time
            log.exception("saga of order %s interrupted", progress.order.id)
        finally:
            ACTIVE.dec()

    async def run(self, progress: Progress) -> None:
        """Until the saga has ended, is parked, or another instance holds it."""
        current: Progress | None = progress
        while current is not None:
            if current.may_turn_back and (current.cancel_requested or current.overdue):
                current = current.turned_back(
                    "customer" if current.cancel_requested else "unavailable"
                )
            step = current.step
            if step is None:
                current = await self._store.finish(current)
            elif current.direction == "forward":
                current = await self._make(current, step)
            elif step.undo is None:
                current = current.skipped()
            else:
                current = await self._attempt(current, step, step.undo)

    async def _make(self, progress: Progress, step: Step) -> Progress | None:
        persisted = await self._store.persist(progress.begun())
        if persisted is None:
            return None  # another instance took over
        if persisted.cancel_requested and not progress.started and not progress.cancel_requested:
            fresh = replace(persisted, started=False)
            if fresh.may_turn_back:
                return fresh
        await failpoint(f"orders.before_{step.name}")
        made = await self._attempt(persisted, step, step.do)
        await failpoint(f"orders.after_{step.name}")
        return made

    async def _attempt(
        self, progress: Progress, step: Step, action: Callable[[Ports, Any], Awaitable[None]]
    ) -> Progress | None:
        name = action.__name__
        with signals.tracer().start_as_current_span(
            f"saga {name}", record_exception=False, set_status_on_exception=False
        ) as span:
            span.set_attribute("breakwater.order_id", progress.order.id)
            span.set_attribute("breakwater.saga.attempt", progress.attempts + 1)
            try:
                await action(self._ports, progress.order)
            except StepRefusedError as refusal:
                self._tell(progress, name, "refused", reason=refusal.reason)
                if progress.direction == "backward":
                    log.error("order %s: %s refused: %s", progress.order.id, name, refusal.reason)
                    await self._park(progress)
                    return None
                return progress.refused(refusal.reason)
            except CallError as error:
                phase = "failed" if error.definite else "unknown"
                self._tell(progress, name, phase, error=str(error))
                await self._park(progress, error.retry_after_s or 0.0)
                return None
        self._tell(progress, name, "done")
        return progress.done()

    def _tell(self, progress: Progress, step: str, phase: str, **more: str) -> None:
        """How a step ended: that it began is in the saga's log and, by its span, in the trace."""
        STEPS.labels(step, phase).inc()
        self._record("saga", order_id=progress.order.id, step=step, phase=phase, **more)

    async def _park(self, progress: Progress, asked_s: float = 0.0) -> None:
        """Give the lease back and try again later, with full jitter, not before we are asked to."""
        ceiling = min(PARK_CAP_S, PARK_BASE_S * 2.0 ** min(progress.attempts, 10))
        wait_s = max(PARK_BASE_S, min(asked_s, PARK_CAP_S)) + self._rng.random() * ceiling
        await self._store.persist(progress.again(), park_s=wait_s)
