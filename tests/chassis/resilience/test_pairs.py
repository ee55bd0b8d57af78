"""Any policy around any other still answers, fails, cancels and can be left out as it would alone."""

import asyncio
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from chassis.resilience import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Breaker,
    BreakerOpenError,
    Bulkhead,
    BulkheadFullError,
    Call,
    CallFailedError,
    ConsecutiveBreaker,
    DeadlineExceededError,
    FakeClock,
    Fallback,
    Hedge,
    LoadShedder,
    RateLimiter,
    Retry,
    StaleFallback,
    State,
    TimedOutError,
    Timeout,
    compose,
)
from tests.chassis.resilience.kit import EDGE, Bank, a_call, boom, failed, ok

MAKERS: dict[str, Callable[[FakeClock], Any]] = {
    "timeout": lambda clock: Timeout(1, clock=clock),
    "retry": lambda clock: Retry(3, rng=random.Random(1), clock=clock),
    "breaker": lambda clock: Breaker(EDGE, window_size=4, minimum_calls=4, clock=clock),
    "consecutive": lambda clock: ConsecutiveBreaker(EDGE, clock=clock),
    "throttle": lambda clock: AdaptiveThrottle(EDGE, rng=random.Random(1), clock=clock),
    "bulkhead": lambda clock: Bulkhead(EDGE, 3, clock=clock),
    "rate_limiter": lambda clock: RateLimiter(EDGE, 100, burst=100, clock=clock),
    "adaptive_limit": lambda clock: AdaptiveLimit(EDGE, clock=clock),
    "hedge": lambda clock: Hedge(0.5, clock=clock),
    "fallback": lambda clock: Fallback("substitute", on=(BreakerOpenError,), clock=clock),
    "stale": lambda clock: StaleFallback(clock=clock),
    "shed": lambda clock: LoadShedder("gateway", clock=clock),
}
PAIRS = list(product(MAKERS, MAKERS))


def assert_nothing_held(*policies: Any) -> None:
    for policy in policies:
        assert getattr(policy, "in_flight", 0) == 0, policy.kind
        assert not getattr(policy, "waiting", 0), policy.kind
        assert not getattr(policy, "_guards", ()), policy.kind
        assert getattr(policy, "_trials", 0) == 0, policy.kind


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_a_pair_answers_fails_and_cancels(clock: FakeClock, outer: str, inner: str) -> None:
    policies = MAKERS[outer](clock), MAKERS[inner](clock)
    chain = compose(*policies)
    error = failed(retryable=False)
    slow = Bank(clock, (0.9, "ok"))

    async def main() -> None:
        assert await chain.run(ok, a_call()) == "ok"
        with pytest.raises(CallFailedError) as caught:
            await chain.run(Bank(clock, (0, error)), a_call())
        assert caught.value is error
        task = asyncio.create_task(chain.run(slow, a_call()))
        await clock.sleep(0.7)
        assert slow.in_flight >= 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert slow.in_flight == 0
        assert_nothing_held(*policies)
        assert await chain.run(ok, a_call()) == "ok"

    clock.run(main())
    assert_nothing_held(*policies)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_a_pair_can_be_left_out_by_switch_and_by_call(
    clock: FakeClock, outer: str, inner: str
) -> None:
    policies = MAKERS[outer](clock), MAKERS[inner](clock)
    chain = compose(*policies)
    seen: list[Call] = []

    async def forbidden(*_: object) -> None:
        raise AssertionError("a policy that is off must not run")

    for policy in policies:
        policy.run = forbidden

    async def work(call: Call) -> str:
        seen.append(call)
        return "ok"

    call = a_call(disabled=frozenset(policy.kind for policy in policies))
    assert clock.run(chain.run(work, call)) == "ok"
    assert seen == [call]
    for policy in policies:
        policy.enabled = False
    assert clock.run(chain.run(work, a_call())) == "ok"


def test_breaker_inside_retry_counts_attempts_and_stops_them(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, window_size=4, minimum_calls=4, clock=clock)
    bank = Bank(clock, (0, failed()))
    chain = compose(Retry(10, clock=clock), breaker)

    async def main() -> None:
        with pytest.raises(BreakerOpenError):
            await chain.run(bank, a_call())

    clock.run(main())
    assert bank.calls == 4


def test_breaker_around_retry_counts_one_outcome(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, window_size=4, minimum_calls=4, clock=clock)
    bank = Bank(clock, (0, failed()))
    chain = compose(breaker, Retry(10, clock=clock))

    async def main() -> None:
        with pytest.raises(CallFailedError):
            await chain.run(bank, a_call())

    clock.run(main())
    assert bank.calls == 10
    assert breaker.snapshot()["n"] == 1


def test_timeout_around_retry_bounds_all_attempts_together(clock: FakeClock) -> None:
    bank = Bank(clock, (0.4, failed()))

    async def main() -> None:
        with pytest.raises(TimedOutError):
            await compose(Timeout(1, clock=clock), Retry(10, clock=clock)).run(bank, a_call())

    clock.run(main())
    assert clock.monotonic() == 1


def test_breaker_counts_a_timeout_inside_it_as_failed(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, window_size=1, clock=clock)

    async def main() -> None:
        hang = Bank(clock, (9, "ok"))
        with pytest.raises(TimedOutError):
            await compose(breaker, Timeout(1, clock=clock)).run(hang, a_call())

    clock.run(main())
    assert breaker.state is State.OPEN


def test_breaker_counts_nothing_when_a_timeout_outside_it_cancels(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, window_size=1, clock=clock)

    async def main() -> None:
        hang = Bank(clock, (9, "ok"))
        with pytest.raises(TimedOutError):
            await compose(Timeout(1, clock=clock), breaker).run(hang, a_call())

    clock.run(main())
    assert breaker.snapshot()["n"] == 0


def test_a_rejection_by_a_bulkhead_does_not_open_the_breaker_around_it(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, window_size=2, clock=clock)
    chain = compose(breaker, Bulkhead(EDGE, 1, clock=clock))

    async def main() -> list[Any]:
        slow = Bank(clock, (1, "ok"))
        calls = (chain.run(slow, a_call()) for _ in range(10))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = clock.run(main())
    assert sum(isinstance(outcome, BulkheadFullError) for outcome in outcomes) == 9
    assert breaker.state is State.CLOSED
    assert breaker.snapshot()["n"] == 1


def test_the_deadline_holds_across_all_retries(clock: FakeClock) -> None:
    chain = compose(Retry(10, backoff_base_s=0.01, clock=clock), Timeout(0.4, clock=clock))

    async def main() -> None:
        with pytest.raises((TimedOutError, DeadlineExceededError)):
            await chain.run(Bank(clock, (9, "ok")), a_call(deadline=1.0))

    clock.run(main())
    assert clock.monotonic() <= 1.0


def test_a_fallback_outermost_hides_an_open_breaker(clock: FakeClock) -> None:
    breaker = Breaker(EDGE, clock=clock)
    breaker.force_open()
    chain = compose(Fallback("pending", clock=clock), breaker)
    assert clock.run(chain.run(boom, a_call())) == "pending"


def test_chains_nest_and_keep_their_own_profile(clock: FakeClock) -> None:
    inner = compose(Retry(3, clock=clock))
    inner.off = frozenset({"retry"})
    bank = Bank(clock, (0, failed()))
    chain = compose(Fallback("pending", clock=clock), inner)
    assert clock.run(chain.run(bank, a_call())) == "pending"
    assert bank.calls == 1
