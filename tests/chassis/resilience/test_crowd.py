"""A thousand tasks at once, some cancelled, some failing: bounds hold and nothing leaks."""

import asyncio
import random
from typing import Any

import pytest

from chassis.resilience import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    CallError,
    Event,
    FakeClock,
    Hedge,
    LoadShedder,
    RateLimiter,
    Retry,
    RetryBudget,
    State,
    Timeout,
    build,
    compose,
)
from chassis.resilience.policy import Policy
from tests.chassis.resilience.kit import EDGE, Bank, a_call, failed, only
from tests.chassis.resilience.test_pairs import assert_nothing_held

TASKS = 1000


class FlakyBank(Bank):
    """Takes up to a second and fails now and then."""

    def __init__(self, clock: FakeClock, rng: random.Random, error_share: float = 0.2) -> None:
        super().__init__(clock, (0, "ok"))
        self.rng = rng
        self.error_share = error_share

    async def __call__(self, call: Any) -> str:
        self.script = (
            (self.rng.random(), failed() if self.rng.random() < self.error_share else "ok"),
        )
        return await super().__call__(call)


async def crowd(clock: FakeClock, rng: random.Random, policy: Any, bank: Bank) -> None:
    async def one() -> None:
        await clock.sleep(rng.random() * 10)
        task = asyncio.create_task(policy.run(bank, a_call(priority=rng.randrange(3))))
        if rng.random() < 0.3:
            clock.call_later(rng.random(), task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(task.exception(), CallError | None), task

    await asyncio.gather(*(one() for _ in range(TASKS)))
    await clock.sleep(10)


@pytest.mark.parametrize("seed", range(3))
def test_all_policies_together_leak_nothing(clock: FakeClock, seed: int) -> None:
    rng = random.Random(seed)
    policies: list[Policy] = [
        LoadShedder("gateway", 80, clock=clock),
        Retry(3, rng=rng, budget=RetryBudget(), clock=clock),
        Breaker(EDGE, window_size=50, minimum_calls=20, wait_open_s=1, clock=clock),
        Hedge(0.5, clock=clock),
        RateLimiter(EDGE, 90, burst=5, wait_s_max=0.2, clock=clock),
        Bulkhead(EDGE, 20, queue=20, wait_s_max=0.3, clock=clock),
        AdaptiveLimit(EDGE, clock=clock),
        Timeout(0.8, clock=clock),
    ]
    bank = FlakyBank(clock, rng)
    clock.run(crowd(clock, rng, compose(*policies), bank))
    assert_nothing_held(*policies)
    assert bank.in_flight == 0
    assert 1 <= bank.in_flight_max <= 20, f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_a_breaker_never_admits_more_than_the_permitted_trial_calls(
    clock: FakeClock, events: list[Event], seed: int
) -> None:
    rng = random.Random(seed)
    breaker = Breaker(
        EDGE,
        window_size=20,
        minimum_calls=20,
        wait_open_s=0.5,
        permitted_half_open=3,
        clock=clock,
        listener=events.append,
    )
    out = most = 0
    flaky = FlakyBank(clock, rng, error_share=0.8)

    async def watched(call: Any) -> str:
        nonlocal out, most
        trial = breaker.state is State.HALF_OPEN
        era = breaker._era
        out += trial
        try:
            return await flaky(call)
        finally:
            if trial:
                assert era != breaker._era or out <= 3
                most = max(most, out)
                out -= 1

    class Watched:
        async def run(self, attempt: Any, call: Any) -> Any:
            return await breaker.run(watched, call)

    clock.run(crowd(clock, rng, Watched(), flaky))
    transitions = only(events, "transition")
    assert sum(e.state == "half_open" for e in transitions) >= 2, f"seed {seed}: no trial call"
    assert most >= 1
    assert out == 0
    for event in only(events, "evaluation"):
        assert event.state != "half_open" or event.n <= 3


@pytest.mark.parametrize("seed", range(3))
def test_a_full_profile_handles_a_thousand_tasks(clock: FakeClock, seed: int) -> None:
    rng = random.Random(seed)
    chain = build(
        EDGE,
        {"hedge": {"quantile": 0.9}, "throttle": True, "adaptive_limit": True},
        clock=clock,
        rng=rng,
    )
    clock.run(crowd(clock, rng, chain, FlakyBank(clock, rng)))
    assert_nothing_held(*(policy for policy in chain if policy.kind != "breaker"))
