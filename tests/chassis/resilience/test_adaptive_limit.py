"""Adaptive limits find a server's capacity, from above and from below."""

import asyncio
import random
from collections.abc import Callable

import pytest

from chassis.resilience import (
    AdaptiveLimit,
    Aimd,
    CallError,
    Event,
    FakeClock,
    Gradient2,
    Limit,
    LimitReachedError,
    TimedOutError,
)
from tests.chassis.resilience.kit import EDGE, Bank, a_call, failed, only


def test_aimd_adds_one_when_used_and_backs_off_on_a_drop() -> None:
    aimd = Aimd(initial=10, backoff=0.5, rtt_s_max=1)
    aimd.update(0.1, in_flight=5, dropped=False)
    assert aimd.limit == 11
    aimd.update(0.1, in_flight=1, dropped=False)
    assert aimd.limit == 11, "unused capacity has no effect"
    aimd.update(0.1, in_flight=11, dropped=True)
    assert aimd.limit == 5.5
    aimd.update(2.0, in_flight=5, dropped=False)
    assert aimd.limit == 2.75


def test_gradient2_grows_at_constant_latency_and_shrinks_when_it_rises() -> None:
    gradient = Gradient2(initial=20)
    for _ in range(50):
        gradient.update(0.1, in_flight=int(gradient.limit), dropped=False)
    grown = gradient.limit
    assert grown == pytest.approx(20 + 50 * 0.2 * 4)
    for _ in range(10):
        gradient.update(0.5, in_flight=int(gradient.limit), dropped=False)
    assert gradient.limit < 0.6 * grown


def test_gradient2_does_not_change_while_the_limit_does_not_bound_the_calls() -> None:
    gradient = Gradient2(initial=20)
    for rtt_s in (0.1, 0.1, 5.0):
        gradient.update(rtt_s, in_flight=9, dropped=False)
    assert gradient.limit == 20
    gradient.update(0.1, in_flight=9, dropped=True)
    assert gradient.limit == 0.8 * 20 + 0.2 * 10


@pytest.mark.parametrize("algorithm", [Aimd, Gradient2])
def test_limits_stay_within_their_bounds(algorithm: Callable[..., Limit]) -> None:
    limit = algorithm(initial=10, least=5, most=15)
    rng = random.Random(7)
    for _ in range(2000):
        limit.update(rng.expovariate(1), rng.randrange(30), rng.random() < 0.2)
        assert 5 <= limit.limit <= 15


@pytest.mark.parametrize("algorithm", [Aimd, Gradient2])
def test_wrong_bounds_are_named(algorithm: Callable[..., Limit]) -> None:
    with pytest.raises(ValueError, match="least <= initial <= most"):
        algorithm(initial=50, most=20)


@pytest.mark.parametrize(
    "algorithm",
    [
        lambda: Aimd(initial=60, rtt_s_max=0.15),
        lambda: Aimd(initial=2, rtt_s_max=0.15),
        lambda: Gradient2(initial=60),
        lambda: Gradient2(initial=2),
    ],
    ids=["aimd from above", "aimd from below", "gradient2 from above", "gradient2 from below"],
)
def test_the_limit_settles_near_the_capacity_of_a_server_with_ten_slots(
    clock: FakeClock, events: list[Event], algorithm: Callable[[], Limit]
) -> None:
    limit = AdaptiveLimit(EDGE, algorithm(), samples_min=1, clock=clock, listener=events.append)
    slots = asyncio.Semaphore(10)

    async def work(call: object) -> None:
        async with slots:
            await clock.sleep(0.1)

    async def client(until: float) -> None:
        while clock.monotonic() < until:
            try:
                await limit.run(work, a_call())
            except LimitReachedError:
                await clock.sleep(0.02)

    async def main() -> None:
        # one call at first, so that gradient2 measures the latency without load
        await client(15)
        await asyncio.gather(*(client(25) for _ in range(40)))

    clock.run(main())
    late = [event.limit for event in only(events, "limit") if event.at > 20] or [limit.limit]
    assert 5 <= sum(late) / len(late) <= 25
    assert limit.in_flight == 0


def test_only_timeouts_and_overload_answers_are_drops(clock: FakeClock) -> None:
    def after(error: CallError) -> float:
        limit = AdaptiveLimit(EDGE, Aimd(initial=10), window_s=0.1, samples_min=1, clock=clock)

        async def main() -> None:
            with pytest.raises(CallError):
                await limit.run(Bank(clock, (1, error)), a_call())

        clock.run(main())
        return limit.algorithm.limit

    assert after(TimedOutError()) == 9
    assert after(failed(status=503)) == 9
    assert after(failed(status=500)) == 10
