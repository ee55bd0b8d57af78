"""Adaptive throttling follows its formula, forgets with its window, and ignores local rejections."""

import asyncio
import random

import pytest

from chassis.resilience import (
    AdaptiveThrottle,
    BulkheadFullError,
    CallFailedError,
    FakeClock,
    ThrottledError,
)
from tests.chassis.resilience.kit import EDGE, Bank, a_call, boom, failed, ok


def test_a_healthy_backend_is_never_throttled(clock: FakeClock) -> None:
    throttle = AdaptiveThrottle(EDGE, clock=clock)

    async def main() -> None:
        for _ in range(1000):
            await throttle.run(ok, a_call())

    clock.run(main())
    assert throttle.drop_probability == 0
    assert throttle.dropped == 0


def test_the_probability_follows_the_formula_of_the_book(clock: FakeClock) -> None:
    throttle = AdaptiveThrottle(EDGE, k=2, clock=clock)
    throttle.requests, throttle.accepts = 1000, 250
    assert throttle.drop_probability == pytest.approx((1000 - 2 * 250) / 1001)


def test_the_window_forgets(clock: FakeClock) -> None:
    throttle = AdaptiveThrottle(EDGE, window_s=10, rng=random.Random(3), clock=clock)

    async def main() -> None:
        for _ in range(100):
            with pytest.raises((CallFailedError, ThrottledError)):
                await throttle.run(boom, a_call())
        assert throttle.drop_probability > 0.9
        await clock.sleep(10.5)
        assert await throttle.run(ok, a_call()) == "ok"

    clock.run(main())
    assert (throttle.requests, throttle.accepts) == (1, 1)


@pytest.mark.parametrize(
    ("error", "requests", "accepts"),
    [(failed(), 1, 0), (BulkheadFullError(), 0, 0), (KeyError(), 1, 1)],
)
def test_what_counts_as_accepted(
    clock: FakeClock, error: Exception, requests: int, accepts: int
) -> None:
    throttle = AdaptiveThrottle(EDGE, refused=(CallFailedError,), clock=clock)

    async def main() -> None:
        with pytest.raises(type(error)):
            await throttle.run(Bank(clock, (0, error)), a_call())

    clock.run(main())
    assert (throttle.requests, throttle.accepts) == (requests, accepts)


def test_a_cancelled_call_is_not_counted(clock: FakeClock) -> None:
    throttle = AdaptiveThrottle(EDGE, clock=clock)

    async def main() -> None:
        task = asyncio.create_task(throttle.run(Bank(clock, (9, "ok")), a_call()))
        await clock.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    clock.run(main())
    assert throttle.requests == 0
