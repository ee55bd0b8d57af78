"""Small fakes of the other side of a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from statistics import fmean, stdev
from typing import Any

from chassis.resilience import Call, CallFailedError, Event, FakeClock

EDGE = "payments->bank"


def a_call(**details: Any) -> Call:
    return Call(EDGE, **{"idempotent": True, **details})


def failed(**details: Any) -> CallFailedError:
    return CallFailedError("boom", **{"status": 500, "retryable": True, **details})


async def ok(call: Call) -> str:
    return "ok"


async def boom(call: Call) -> str:
    raise failed()


class Bank:
    """Answers by a script of (seconds, "ok" or an exception). The last entry repeats."""

    def __init__(self, clock: FakeClock, *script: tuple[float, str | BaseException]) -> None:
        self.clock = clock
        self.script = script
        self.calls = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.finished = 0

    async def __call__(self, call: Call) -> str:
        seconds, answer = self.script[min(self.calls, len(self.script) - 1)]
        self.calls += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await self.clock.sleep(seconds)
        finally:
            self.in_flight -= 1
        self.finished += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.kind for event in events]


def only(events: Iterable[Event], kind: str) -> list[Event]:
    return [event for event in events if event.kind == kind]


def seeds(runs: int = 200) -> Iterator[int]:
    yield from range(1, runs + 1)


def assert_inside_99(expected: float, samples: list[float], *, slack: float = 0.0) -> None:
    """`expected` lies in the 99% interval of the mean; `slack` covers a closed form's "about"."""
    mean = fmean(samples)
    half = 2.576 * stdev(samples) / math.sqrt(len(samples)) + slack
    assert abs(mean - expected) <= half + 1e-12, (
        f"expected {expected}, measured {mean:.4f} +- {half:.4f} over seeds 1..{len(samples)}"
    )


def binomial(n: int, p: float, k: int) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


Make = Callable[[FakeClock], Any]
