"""Runs sagas step by step under a lease: parks a saga that cannot continue now, resumes one without an owner."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from opentelemetry import context as otel_context

from chassis.background import until_beat_s
from chassis.clock import Clock
from chassis.faults import failpoint
from chassis.http import context
from chassis.resilience.errors import CallError
from chassis.telemetry import signals
from chassis.telemetry.metrics import counter, expose, gauge
from chassis.unavailable import dependency_is_down
from shop.orders.domain import Order
from shop.orders.pace import Pace
from shop.orders.saga import Ended, Ports, Progress, Step, StepRefusedError

log = logging.getLogger("orders.saga")
ACTIVE = gauge("saga_active", "Sagas that this instance runs now")
PENDING = gauge("saga_pending", "Sagas of all instances that have not ended")
STEPS = counter("saga_steps", "Attempts of steps and compensations", ("step", "phase"))
PARK_BASE_S = 0.2
# The pace spreads the retries, so the jitter may be short.
PARK_JITTER_S_MAX = 1.0
RETRY_AFTER_S_MAX = 3.0
IDLE_PERIOD_S = 1.0
RESUME_PERIOD_S = 0.5
BACKLOG_PERIOD_S = 0.05  # while more sagas are due than may run, and steps succeed
NEAR_DEADLINE_S = 10.0
STOP_S = 1.0


class Store(Protocol):
    async def persist(
        self, progress: Progress, *, park_s: float | None = None
    ) -> Progress | None: ...
    async def finish(self, progress: Progress) -> Ended | None: ...
    async def claim(self, limit: int) -> list[tuple[str, str]]: ...
    async def load(self, order_id: str) -> Progress | None: ...
    async def count_pending(self, near_deadline_s: float) -> tuple[int, int, int]: ...


class SagaRunner:
    """Runs the sagas whose lease this instance holds.

    Without `resumes`, a protection that a lab can switch off, a saga ends with the process that runs it.
    """

    def __init__(
        self,
        store: Store,
        ports: Ports,
        clock: Clock,
        record: Callable[..., None],
        rng: Random | None = None,
        *,
        resumes: bool = True,
    ) -> None:
        self._store = store
        self._resumes = resumes
        self._ports = ports
        self._clock = clock
        self._record = record
        self._rng = rng or Random()
        self._pace = Pace(clock)
        self._running: dict[str, asyncio.Task[Order | None]] = {}

    def start(self, progress: Progress, traceparent: str = "") -> asyncio.Task[Order | None]:
        """Run a saga whose lease this instance holds. The task ends as `run` does."""
        order_id = progress.order.id
        if order_id not in self._running:
            task = asyncio.create_task(self._run_detached(progress, traceparent))
            self._running[order_id] = task
            task.add_done_callback(lambda _: self._running.pop(order_id, None))
        return self._running[order_id]

    async def resume(self) -> None:
        """Resume sagas that are due and have no owner, as fast as the pace allows, until cancelled."""
        expose(ACTIVE, PENDING, STEPS)
        count_at, pending, due, near_deadline = 0.0, 0, 0, 0
        while True:
            now = self._clock.monotonic()
            if now >= count_at:
                pending, due, near_deadline = await self._store.count_pending(NEAR_DEADLINE_S)
                PENDING.set(pending)
                count_at = now + RESUME_PERIOD_S
            if due and self._resumes:
                free = self._pace.free(len(self._running), near_deadline=near_deadline > 0)
                resumed = await self._store.claim(free) if free > 0 else []
                due = 0 if len(resumed) < free else due - len(resumed)
                for order_id, traceparent in resumed:
                    progress = await self._store.load(order_id)
                    if progress is not None:
                        self.start(progress, traceparent)
            if due > 0 and not self._pace.failing:
                await self._clock.sleep(BACKLOG_PERIOD_S)
            else:
                await self._clock.sleep(RESUME_PERIOD_S if pending else until_beat_s(IDLE_PERIOD_S))

    async def stop(self) -> None:
        """Wait up to `STOP_S` for running sagas. Another instance resumes the others."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STOP_S)

    async def _run_detached(self, progress: Progress, traceparent: str) -> Order | None:
        """Run the saga without the request's deadline, because it outlives the request; lab options stay."""
        request = context.current.get()
        context.current.set(context.RequestContext(lab=request.lab if request else ""))
        if traceparent:
            otel_context.attach(signals.propagator.extract({"traceparent": traceparent}))
        ACTIVE.inc()
        try:
            return await self.run(progress)
        except Exception as error:
            # the lease expires and the saga is resumed
            if dependency_is_down(error):
                text = str(error) or type(error).__name__
                log.warning("saga of order %s interrupted: %s", progress.order.id, text)
            else:
                log.exception("saga of order %s interrupted", progress.order.id)
            return None
        finally:
            ACTIVE.dec()

    async def run(self, progress: Progress) -> Order | None:
        """Run the saga until it has ended. None: it is parked, or another instance holds its lease."""
        current: Progress | None = progress
        while current is not None:
            if current.may_compensate and (current.cancel_requested or current.overdue):
                current = current.compensating(
                    "customer" if current.cancel_requested else "unavailable"
                )
            step = current.step
            if step is None:
                ended = await self._store.finish(current)
                if ended is None:
                    return None
                if ended.cancellation is None:
                    return ended.order
                current = ended.cancellation
            elif current.direction == "forward":
                current = await self._do(current, step)
            elif step.undo is None:
                current = current.skipped()
            else:
                current = await self._attempt(current, step, step.undo)
        return None

    async def _do(self, progress: Progress, step: Step) -> Progress | None:
        persisted = progress if progress.stored else await self._store.persist(progress.begun())
        if persisted is None:
            return None  # another instance took over
        if persisted.cancel_requested and not progress.started and not progress.cancel_requested:
            fresh = replace(persisted, started=False)
            if fresh.may_compensate:
                return fresh
        await failpoint(f"orders.before_{step.name}")
        after = await self._attempt(persisted, step, step.do)
        await failpoint(f"orders.after_{step.name}")
        return after

    async def _attempt(
        self, progress: Progress, step: Step, action: Callable[[Ports, Any], Awaitable[None]]
    ) -> Progress | None:
        name = action.__name__
        started = self._clock.monotonic()
        with signals.tracer().start_as_current_span(
            f"saga {name}", record_exception=False, set_status_on_exception=False
        ) as span:
            span.set_attribute("breakwater.order_id", progress.order.id)
            span.set_attribute("breakwater.saga.attempt", progress.attempts + 1)
            try:
                await action(self._ports, progress.order)
            except StepRefusedError as error:
                self._report(progress, name, "refused", reason=error.reason)
                if progress.direction == "backward":
                    log.error("order %s: %s refused: %s", progress.order.id, name, error.reason)
                    await self._park(progress)
                    return None
                return progress.refused(error.reason)
            except CallError as error:
                phase = "failed" if error.definite else "unknown"
                self._sample(started, failed=True)
                self._report(progress, name, phase, error=str(error))
                await self._park(progress, error.retry_after_s or 0.0)
                return None
        self._sample(started)
        self._report(progress, name, "done")
        return progress.done()

    def _sample(self, started: float, *, failed: bool = False) -> None:
        self._pace.sample(self._clock.monotonic() - started, len(self._running), failed=failed)

    def _report(self, progress: Progress, step: str, phase: str, **more: str) -> None:
        """Count and record the end of a step. Its start is in the saga's log and in the trace."""
        STEPS.labels(step, phase).inc()
        self._record("saga", order_id=progress.order.id, step=step, phase=phase, **more)

    async def _park(self, progress: Progress, retry_after_s: float = 0.0) -> None:
        """Release the lease and retry later: after `retry_after_s`, plus a backoff with full jitter."""
        jitter_s = self._rng.random() * min(
            PARK_JITTER_S_MAX, PARK_BASE_S * 2.0 ** min(progress.attempts, 10)
        )
        wait_s = max(PARK_BASE_S, min(retry_after_s, RETRY_AFTER_S_MAX)) + jitter_s
        await self._store.persist(progress.retrying(), park_s=wait_s)
