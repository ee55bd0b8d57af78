"""Rate limiter: never more than burst + rate x t starts, and cancelled reservations are returned."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.resilience import Call, FakeClock, RateLimitedError, RateLimiter
from tests.chassis.resilience.kit import EDGE, Bank, a_call, ok


def test_a_burst_passes_and_the_next_call_gets_a_retry_after(clock: FakeClock) -> None:
    limiter = RateLimiter(EDGE, 10, burst=3, clock=clock)

    async def main() -> None:
        for _ in range(3):
            assert await limiter.run(ok, a_call()) == "ok"
        with pytest.raises(RateLimitedError) as caught:
            await limiter.run(ok, a_call())
        assert caught.value.retry_after_s == pytest.approx(0.1)
        await clock.sleep(0.1)
        assert await limiter.run(ok, a_call()) == "ok"

    clock.run(main())


def test_a_call_waits_for_its_token(clock: FakeClock) -> None:
    limiter = RateLimiter(EDGE, 10, wait_s_max=1, clock=clock)

    async def main() -> None:
        await asyncio.gather(*(limiter.run(ok, a_call()) for _ in range(5)))

    clock.run(main())
    assert clock.monotonic() == pytest.approx(0.4)


def test_a_wait_past_the_deadline_is_rejected_at_once(clock: FakeClock) -> None:
    limiter = RateLimiter(EDGE, 10, wait_s_max=1, clock=clock)

    async def main() -> None:
        await limiter.run(ok, a_call())
        with pytest.raises(RateLimitedError):
            await limiter.run(ok, a_call(deadline=0.05))

    clock.run(main())
    assert clock.monotonic() == 0


def test_a_cancelled_wait_returns_its_token(clock: FakeClock) -> None:
    limiter = RateLimiter(EDGE, 1, wait_s_max=1, clock=clock)
    bank = Bank(clock, (0, "ok"))

    async def main() -> None:
        await limiter.run(bank, a_call())
        waiting = asyncio.create_task(limiter.run(bank, a_call()))
        await clock.sleep(0.5)
        waiting.cancel()
        await asyncio.wait([waiting])
        await clock.sleep(0.5)
        await limiter.run(bank, a_call())

    clock.run(main())
    assert clock.monotonic() == pytest.approx(1)
    assert bank.calls == 2


def test_a_cancelled_wait_does_not_hurry_the_calls_behind_it(clock: FakeClock) -> None:
    limiter = RateLimiter(EDGE, 1, wait_s_max=20, clock=clock)
    starts: list[float] = []

    async def work() -> str:
        async def start(_: Call) -> str:
            starts.append(clock.monotonic())
            return "ok"

        return await limiter.run(start, a_call())

    async def main() -> None:
        await work()
        waiting = [asyncio.create_task(work()) for _ in range(11)]
        await clock.sleep(0.5)
        for task in waiting[:10]:  # the last one keeps its turn at 11 s
            task.cancel()
        await asyncio.wait(waiting[:10])
        later = [asyncio.create_task(work()) for _ in range(5)]
        await asyncio.wait([*waiting[10:], *later])

    clock.run(main())
    assert starts == pytest.approx([0, 11, 12, 13, 14, 15, 16])


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_calls_cancelled_in_any_order_return_all_tokens(
    clock: FakeClock, order: tuple[int, ...]
) -> None:
    limiter = RateLimiter(EDGE, 1, wait_s_max=20, clock=clock)

    async def main() -> None:
        await limiter.run(ok, a_call())
        waiting = [asyncio.create_task(limiter.run(ok, a_call())) for _ in order]
        await clock.sleep(0.5)
        for number in order:
            waiting[number - 1].cancel()
            await asyncio.wait([waiting[number - 1]])
        await limiter.run(ok, a_call())

    clock.run(main())
    assert clock.monotonic() == pytest.approx(1)


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(0, 30), max_size=80),
    rate=st.sampled_from([1, 7, 10, 100]),
    burst=st.integers(1, 5),
)
def test_no_interval_holds_more_starts_than_burst_plus_rate(
    gaps: list[int], rate: int, burst: int
) -> None:
    clock = FakeClock()
    limiter = RateLimiter(EDGE, rate, burst=burst, clock=clock)
    starts: list[float] = []
    for gap in gaps:
        clock.tick(gap / 100)
        try:
            limiter.acquire(a_call())
            starts.append(clock.monotonic())
        except RateLimitedError:
            pass
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            span = starts[last] - starts[first]
            assert last - first + 1 <= burst + rate * span + 1e-6
