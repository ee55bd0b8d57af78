"""Ground truth 18: a queue with retries stays full iff (r+1)rho > 1 after a trigger > T; a bounded one never."""

import asyncio
import math
import random
from itertools import product
from statistics import fmean

import pytest

from chassis.resilience import (
    CallError,
    CallFailedError,
    FakeClock,
    Policy,
    Retry,
    RetryBudget,
    Timeout,
    compose,
)
from tests.chassis.resilience.kit import a_call, seeds

# High enough that chance alone hardly ever queues a request for T: what tips it over is the trigger.
MU, TIMEOUT_S = 40.0, 1.0
TRIGGER_AT_S, WATCHED_S = 2.0, 3.0


def storm(
    seed: int,
    load: float,
    trigger_s: float,
    *,
    retries: int = 1,
    bound_s: float = math.inf,
    budget: RetryBudget | None = None,
    patience_s: float = 0.0,
) -> float:
    """The share of good answers after the time in which a FIFO server should recover from a stall.

    It serves `MU` requests per second, the load is the share `load` of that, and from `TRIGGER_AT_S`
    it stops for `trigger_s`. It cancels no work, so it also handles requests whose caller has timed
    out. `bound_s` is the longest queue in seconds of work. A caller waits `TIMEOUT_S` and retries
    `retries` times. The share is measured for `WATCHED_S` after a grace period: 3 T per attempt, or
    twice the time to drain the backlog with all its retries, or `patience_s`, whichever is longest.
    """
    rng, clock = random.Random(seed), FakeClock()
    wake_s, free_at = TRIGGER_AT_S + trigger_s, 0.0
    repeated = (retries + 1) * load
    drain_s = repeated * trigger_s / (1 - repeated) if repeated < 1 else 0.0
    from_s = wake_s + max(3 * TIMEOUT_S * (retries + 1), 2 * drain_s, patience_s)
    outcomes: list[bool] = []

    async def server(call: object) -> None:
        nonlocal free_at
        now = clock.monotonic()
        if TRIGGER_AT_S <= now < wake_s:
            free_at = max(free_at, wake_s)
        if free_at - now > bound_s:
            raise CallFailedError(status=503, definite=True, retryable=True)
        free_at = max(free_at, now) + rng.expovariate(MU)
        await clock.sleep(free_at - now)

    retry = Retry(
        retries + 1, backoff_base_s=0.05, rng=random.Random(seed), budget=budget, clock=clock
    )
    policies: tuple[Policy, ...] = (retry, Timeout(TIMEOUT_S, clock=clock))
    chain = compose(*policies)

    async def user(at: float) -> None:
        await clock.sleep(at)
        try:
            await chain.run(server, a_call())
            good = True
        except CallError:
            good = False
        if at > from_s:
            outcomes.append(good)

    async def main() -> None:
        arrivals, at = [], 0.0
        while at < from_s + WATCHED_S:
            at += rng.expovariate(load * MU)
            arrivals.append(at)
        await asyncio.gather(*(user(at) for at in arrivals))

    clock.run(main())
    return fmean(outcomes)


# Near (r+1)rho = 1 and near T chance decides how long the drain takes: the grid stays clear of both.
PRESSURES = (0.6, 0.8, 1.4, 1.8)
TRIGGERS_S = (0.0, 0.4, 3.0, 5.0)


@pytest.mark.parametrize(("pressure", "trigger_s"), list(product(PRESSURES, TRIGGERS_S)))
def test_the_server_stays_overloaded_exactly_if_retries_overload_it_after_a_long_trigger(
    pressure: float, trigger_s: float
) -> None:
    """`pressure` is (r+1)rho with r = 1. The whole grid has 208 runs."""
    stuck = pressure > 1 and trigger_s > TIMEOUT_S
    for seed in seeds(13):
        goodput = storm(seed, pressure / 2, trigger_s)
        if stuck:
            assert goodput < 0.05, f"seed {seed}: {goodput:.3f} good, it recovered"
        else:
            assert goodput > 0.95, f"seed {seed}: {goodput:.3f} good, it is stuck"


@pytest.mark.parametrize("retries", [1, 3])
def test_load_times_attempts_decides(retries: int) -> None:
    for seed in seeds(5):
        assert storm(seed, 1.6 / (retries + 1), 4.0, retries=retries) < 0.05, f"seed {seed}"
        assert storm(seed, 0.7 / (retries + 1), 4.0, retries=retries) > 0.95, f"seed {seed}"


@pytest.mark.parametrize("pressure", PRESSURES)
def test_a_queue_shorter_than_the_timeout_always_recovers(pressure: float) -> None:
    for seed in seeds(5):
        goodput = storm(seed, pressure / 2, 5.0, bound_s=TIMEOUT_S / 2)
        assert goodput > 0.95, f"seed {seed}: {goodput:.3f}"


def test_a_retry_budget_removes_the_sustaining_effect() -> None:
    """It limits the load to rho(1 + deposit): the queue drains with 1 - 0.77 of the capacity."""
    for seed in seeds(5):
        goodput = storm(seed, 0.7, 3.0, budget=RetryBudget(10, 0.1), patience_s=20)
        assert goodput > 0.95, f"seed {seed}: {goodput:.3f}"
