"""Who is let in when not all can be: orders and logins before accounts, accounts before browsing."""

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
BROWSE, ACCOUNT, CHECKOUT = range(3)  # what is shed first; health and metrics never come this way
LOOK_S = 0.02


class AdmissionControl:
    """Load shedding in front of the public API, with the switches of any other edge.

    Works in profile `full`. Raises ProfileError for a bad `shed` table in resilience.toml.
    """

    def __init__(self, profile: str, clock: Clock) -> None:
        table = policy_tables(EDGE).get(SHED, {})
        self.shedder = build_beside_chain(EDGE, SHED, partial(LoadShedder, EDGE), table)
        self.shedder.enabled = table is not False
        self._clock = clock
        self.use(profile)

    async def admit(self, priority: int, answer: Callable[[], Awaitable[T]]) -> T:
        """The answer, made if there is room for its class. Raises ShedError: definite, with Retry-After."""
        off = self._off
        request = context.current.get()
        if request is not None and request.lab:
            by_header = kinds_off_by_header(context.lab_options(request.lab))
            off = off if by_header is None else by_header
        if SHED in off or not self.shedder.enabled:
            return await answer()
        self.shedder.admit(priority)
        try:
            return await answer()
        finally:
            self.shedder.release()

    async def watch_queue_delay(self) -> None:
        """For ever: how late the event loop comes to its work is how long work waits for it."""
        while True:
            due = self._clock.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.shedder.observe_queue(max(0.0, self._clock.monotonic() - due))

    def use(self, profile: str) -> None:
        self._off = kinds_off(profile)
        self._profile = profile

    def switch(self, kind: str, on: bool) -> None:
        if kind != SHED:
            raise ProfileError(f"{EDGE}: no policy {kind!r} here; expected {SHED}")
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
