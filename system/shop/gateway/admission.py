"""Admission control: under overload, checkout comes before accounts, and accounts before browsing."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from chassis.clock import Clock
from chassis.edge_policies.configuration import (
    SHED,
    build_beside_chain,
    kinds_off,
    kinds_off_by_header,
    policy_tables,
)
from chassis.http import context
from chassis.resilience.profile import ProfileError
from chassis.resilience.shed import LoadShedder

T = TypeVar("T")
EDGE = "ingress->gateway"
BROWSE, ACCOUNT, CHECKOUT = range(3)  # lowest is shed first; health and metrics are never shed
SAMPLE_S = 0.1  # overload is a whole second of long waits


class AdmissionControl:
    """Sheds load in front of the public API. It has the switches of every other edge.

    Active in profile `full`. Raises ProfileError for a bad `shed` table in resilience.toml.
    """

    def __init__(self, profile: str, clock: Clock) -> None:
        table = policy_tables(EDGE).get(SHED, {})
        self.shedder = build_beside_chain(EDGE, SHED, partial(LoadShedder, EDGE), table)
        self.shedder.enabled = table is not False
        self._clock = clock
        self._arrival = asyncio.Event()
        self.use(profile)

    async def admit(self, priority: int, answer: Callable[[], Awaitable[T]]) -> T:
        """Await `answer` if its priority has room. Raises ShedError: definite, with Retry-After."""
        off = self._off
        request = context.current.get()
        if request is not None and request.lab:
            requested = kinds_off_by_header(context.lab_options(request.lab))
            off = off if requested is None else requested
        if SHED in off or not self.shedder.enabled:
            return await answer()
        self._arrival.set()
        self.shedder.admit(priority)
        try:
            return await answer()
        finally:
            self.shedder.release()

    async def watch_queue_delay(self) -> None:
        """Sample the event loop's delay until cancelled: it is how long work waits in the queue.

        A gateway without a request has no queue, and is not woken.
        """
        while True:
            if not self.shedder.in_flight:
                self._arrival.clear()
                await self._arrival.wait()
            due = self._clock.monotonic() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            self.shedder.observe_queue(max(0.0, self._clock.monotonic() - due))

    def use(self, profile: str) -> None:
        self._off = kinds_off(profile)
        self._profile = profile

    def switch(self, kind: str, on: bool) -> None:
        if kind != SHED:
            raise ProfileError(f"{EDGE}: no policy {kind!r}; expected {SHED}")
        self.shedder.enabled = on

    def kinds(self) -> tuple[str, ...]:
        return (SHED,)

    def snapshot(self) -> dict[str, Any]:
        policies = [self.shedder.snapshot()]
        return {
            "edge": EDGE,
            "profile": self._profile,
            "off": sorted(self._off),
            "policies": policies,
        }
