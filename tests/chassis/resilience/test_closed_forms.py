"""Measurement and prediction: 200 seeded runs in virtual time, with the closed form in the 99% interval.

The numbers are ground truths 11 to 18 of docs on methods: detection, false trips, time spent open,
recovery, amplification, throttling, hedging; test_retry_storm.py has 18.
"""

import asyncio
import contextlib
import math
import random
from statistics import fmean

import pytest

from chassis.resilience import (
    AdaptiveThrottle,
    Breaker,
    BreakerOpenError,
    CallFailedError,
    ConsecutiveBreaker,
    FakeClock,
    Hedge,
    Retry,
    State,
    ThrottledError,
)
from tests.chassis.resilience.kit import EDGE, a_call, assert_inside_99, binomial, seeds


@pytest.mark.parametrize(("p", "calls"), [(1.0, 50.0), (0.8, 62.5)])
def test_detection_from_a_full_healthy_window_takes_k_over_p_calls(p: float, calls: float) -> None:
    def run(seed: int) -> float:
        rng = random.Random(seed)
        breaker = Breaker(EDGE, window_size=100, minimum_calls=100, clock=FakeClock())
        for _ in range(100):
            breaker.record(breaker.acquire(), 0.01)
        n = 0
        while breaker.state is State.CLOSED:
            breaker.record(breaker.acquire(), 0.01, failed=rng.random() < p)
            n += 1
        return n

    samples = [run(seed) for seed in seeds()]
    if p == 1.0:
        assert set(samples) == {calls}
    else:
        assert_inside_99(calls, samples)


def test_detection_follows_the_binomial_distribution() -> None:
    # P(T <= n) = P(Bin(n, p) >= k) while n <= N; here N = 20, k = 10, p = .8, n = 12
    expected = sum(binomial(12, 0.8, i) for i in range(10, 13))

    def run(seed: int) -> float:
        rng = random.Random(seed)
        breaker = Breaker(EDGE, window_size=20, minimum_calls=20, clock=FakeClock())
        for _ in range(20):
            breaker.record(breaker.acquire(), 0.01)
        for _ in range(12):
            breaker.record(breaker._era, 0.01, failed=rng.random() < 0.8)
        return float(breaker.state is State.OPEN)

    assert_inside_99(expected, [run(seed) for seed in seeds()])


def test_five_in_a_row_at_error_share_a_fifth_takes_3905_calls() -> None:
    k, e = 5, 0.2
    expected = (e**-k - 1) / (1 - e)
    assert round(expected) == 3905

    def run(seed: int) -> float:
        rng = random.Random(seed)
        breaker = ConsecutiveBreaker(EDGE, run_length=k, clock=FakeClock())
        n = 0
        while breaker.state is State.CLOSED:
            breaker.record(0, 0.01, failed=rng.random() < e)
            n += 1
        return n

    assert_inside_99(expected, [run(seed) for seed in seeds()])


def test_share_of_time_open_under_partial_failure() -> None:
    size, h, wait_s, rate, p = 20, 5, 10.0, 10.0, 0.7
    q = sum(binomial(h, p, i) for i in range(math.ceil(0.5 * h)))
    closed_s = size / rate
    expected = (wait_s / q) / (closed_s + (wait_s + h / rate) / q)
    assert expected == pytest.approx(0.923, abs=1e-3)

    def run(seed: int, cycles: int = 15) -> tuple[float, float]:
        """Seconds open and in all, over whole cycles from closing to closing; Poisson arrivals."""
        rng, clock = random.Random(seed), FakeClock()
        breaker = Breaker(
            EDGE,
            window_size=size,
            minimum_calls=size,
            wait_open_s=wait_s,
            permitted_half_open=h,
            clock=clock,
        )
        open_s = 0.0
        while cycles:
            clock.tick(rng.expovariate(rate))
            state = breaker.state
            breaker.record(breaker.acquire(), 0.01, failed=rng.random() < p)
            if breaker.state is State.OPEN:
                open_s += wait_s
                clock.tick(wait_s)
            cycles -= state is State.HALF_OPEN and breaker.state is State.CLOSED
        return open_s, clock.monotonic()

    runs = [run(seed) for seed in seeds()]
    # ratio of sums; the delta method turns it into a mean of residuals
    share = sum(o for o, _ in runs) / sum(t for _, t in runs)
    mean_s = fmean(t for _, t in runs)
    assert_inside_99(expected, [share + (o - share * t) / mean_s for o, t in runs])


def test_recovery_takes_half_the_wait_and_the_trial_calls() -> None:
    wait_s, h, rate = 10.0, 10, 50.0
    expected = wait_s / 2 + h / rate

    def run(seed: int) -> float:
        rng, clock = random.Random(seed), FakeClock()
        breaker = Breaker(
            EDGE,
            window_size=20,
            minimum_calls=20,
            wait_open_s=wait_s,
            permitted_half_open=h,
            clock=clock,
        )
        fault_ends = 5 * wait_s + rng.random() * (wait_s + h / rate)
        while True:
            clock.tick(rng.expovariate(rate))
            healthy = clock.monotonic() >= fault_ends
            try:
                breaker.record(breaker.acquire(), 0.01, failed=not healthy)
            except BreakerOpenError as refusal:
                clock.tick(refusal.retry_after_s or 0.0)  # arrivals in between have no effect
            if healthy and breaker.state is State.CLOSED:
                return clock.monotonic() - fault_ends

    assert_inside_99(expected, [run(seed) for seed in seeds()])


def test_retries_amplify_load_and_hide_errors_as_predicted() -> None:
    p, r = 0.3, 3
    amplification, user_failure = (1 - p ** (r + 1)) / (1 - p), p ** (r + 1)
    assert amplification == pytest.approx(1.417)
    assert user_failure == pytest.approx(0.0081)

    def run(seed: int, calls: int = 250) -> tuple[float, float]:
        rng, clock = random.Random(seed), FakeClock()
        retry = Retry(r + 1, backoff_base_s=0.0, rng=rng, clock=clock)
        attempts = failures = 0

        async def work(call: object) -> None:
            nonlocal attempts
            attempts += 1
            if rng.random() < p:
                raise CallFailedError(retryable=True)

        async def main() -> None:
            nonlocal failures
            for _ in range(calls):
                try:
                    await retry.run(work, a_call())
                except CallFailedError:
                    failures += 1

        clock.run(main())
        return attempts / calls, failures / calls

    runs = [run(seed) for seed in seeds()]
    assert_inside_99(amplification, [a for a, _ in runs])
    assert_inside_99(user_failure, [f for _, f in runs])


def test_adaptive_throttling_sends_k_times_the_capacity() -> None:
    offered, capacity, k, window_s = 200, 50, 2.0, 4.0

    def run(seed: int) -> float:
        clock = FakeClock()
        throttle = AdaptiveThrottle(
            EDGE, k=k, window_s=window_s, rng=random.Random(seed), clock=clock
        )
        taken, sent = -5.0, 0  # the bucket starts with five tokens

        async def backend(call: object) -> None:
            nonlocal sent, taken
            sent += 1
            if taken + 1 > capacity * clock.monotonic():
                raise CallFailedError(status=503)
            taken += 1

        async def main() -> float:
            nonlocal taken
            for second in range(10):
                if second == 7:
                    before = sent
                for _ in range(offered):
                    clock.tick(1 / offered)
                    taken = max(taken, capacity * clock.monotonic() - 5)  # unused capacity is lost
                    with contextlib.suppress(CallFailedError, ThrottledError):
                        await throttle.run(backend, a_call())
            return (sent - before) / 3

        coroutine = main()
        try:
            coroutine.send(None)  # nothing waits, so no event loop is needed
        except StopIteration as done:
            return float(done.value)
        raise AssertionError("the simulation waited")

    assert_inside_99(k * capacity, [run(seed) for seed in seeds()])


def test_hedging_at_p95_moves_p999_from_7_to_5_for_5_percent_more_load() -> None:
    delay_s = math.log(20)  # the p95 of Exp(1)
    expected = (math.log(1000) + delay_s) / 2  # e^-t e^-(t - d) = .001
    assert expected == pytest.approx(4.95, abs=0.01)
    latencies: list[float] = []
    extra: list[float] = []

    def run(seed: int, calls: int = 200) -> None:
        rng, clock = random.Random(seed), FakeClock()
        hedge = Hedge(delay_s, clock=clock)

        async def work(call: object) -> None:
            await clock.sleep(rng.expovariate(1))

        async def one() -> float:
            await hedge.run(work, a_call())
            return clock.monotonic()

        async def main() -> list[float]:
            return list(await asyncio.gather(*(one() for _ in range(calls))))

        latencies.extend(clock.run(main()))
        extra.append(hedge.hedged / calls)

    for seed in seeds():
        run(seed)
    latencies.sort()
    n, q = len(latencies), 0.999
    spread = 2.576 * math.sqrt(n * q * (1 - q))  # of the rank of the quantile
    low, high = latencies[int(n * q - spread)], latencies[min(n - 1, int(n * q + spread) + 1)]
    assert low <= expected <= high, f"p99.9 in [{low:.2f}, {high:.2f}] over seeds 1..200"
    assert high < math.log(1000)
    assert_inside_99(0.05, extra)
