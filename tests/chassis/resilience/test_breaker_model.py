"""Properties of the breaker against a model that keeps every outcome in a list."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.resilience import Breaker, BreakerOpenError, ConsecutiveBreaker, FakeClock, State
from tests.chassis.resilience.kit import EDGE


@dataclass
class Model:
    """The same rules, without optimization."""

    time_based: bool
    size: int
    minimum: int
    rate: float
    slow_rate: float
    wait_s: float
    permitted: int
    state: str = "closed"
    era: int = 0
    since: float = 0.0
    admitted: int = 0
    outcomes: list[tuple[float, bool, bool]] = field(default_factory=list)

    def enter(self, state: str, now: float) -> None:
        self.state, self.since, self.admitted = state, now, 0
        self.era += 1
        if state != "open":
            self.outcomes = []

    def acquire(self, now: float) -> int | None:
        if self.state == "open" and now - self.since >= self.wait_s:
            self.enter("half_open", now)
        if self.state == "closed":
            return self.era
        if self.state == "half_open" and self.admitted < self.permitted:
            self.admitted += 1
            return self.era
        return None

    def seen(self, now: float) -> list[tuple[float, bool, bool]]:
        if self.state == "half_open":
            return self.outcomes
        if self.time_based:
            return [o for o in self.outcomes if int(o[0]) > int(now) - self.size]
        return self.outcomes[-self.size :]

    def record(self, era: int, failed: bool, slow: bool, now: float) -> None:
        if era != self.era:
            return
        self.outcomes.append((now, failed, slow))
        seen = self.seen(now)
        half = self.state == "half_open"
        minimum = self.minimum
        if half:
            minimum = min(minimum, self.permitted)
        elif not self.time_based:
            minimum = min(minimum, self.size)
        if len(seen) < minimum:
            return
        failures, slows = sum(o[1] for o in seen), sum(o[2] for o in seen)
        if failures / len(seen) >= self.rate or slows / len(seen) >= self.slow_rate:
            self.enter("open", now)
        elif half:
            self.enter("closed", now)

    def release(self, era: int) -> None:
        if era == self.era and self.state == "half_open":
            self.admitted -= 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.just(0), st.booleans(), st.booleans()),
        st.tuples(st.just("call"), st.just(0), st.booleans(), st.booleans()),
        st.tuples(st.just("start"), st.just(0), st.booleans(), st.booleans()),
        st.tuples(st.just("finish"), st.integers(0, 50), st.booleans(), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 50), st.booleans(), st.booleans()),
        st.tuples(st.just("tick"), st.sampled_from([1, 3, 9, 20]), st.booleans(), st.booleans()),
    ),
    max_size=120,
)
RATES = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=250, deadline=None)
@given(
    steps=STEPS,
    time_based=st.booleans(),
    size=st.integers(1, 8),
    minimum=st.integers(1, 10),
    rate=RATES,
    slow_rate=RATES,
    permitted=st.integers(1, 4),
)
def test_breaker_equals_the_naive_model(
    steps: list[tuple[str, int, bool, bool]],
    time_based: bool,
    size: int,
    minimum: int,
    rate: float,
    slow_rate: float,
    permitted: int,
) -> None:
    clock = FakeClock()
    breaker = Breaker(
        EDGE,
        window="TIME_BASED" if time_based else "COUNT_BASED",
        window_size=size,
        minimum_calls=minimum,
        failure_rate_threshold=rate,
        slow_call_rate_threshold=slow_rate,
        slow_call_duration_s=1.0,
        wait_open_s=2.0,
        permitted_half_open=permitted,
        clock=clock,
    )
    model = Model(time_based, size, minimum, rate, slow_rate, 2.0, permitted)
    under_way: list[tuple[int, int]] = []
    trials = 0
    for what, number, failed, slow in steps:
        now = clock.monotonic()
        if what == "tick":
            clock.tick(number / 4)
            continue
        if what in ("start", "call"):
            expected = model.acquire(now)
            try:
                under_way.append((breaker.acquire(), expected if expected is not None else -1))
                assert expected is not None
            except BreakerOpenError:
                assert expected is None
                continue
        if what != "start" and under_way:
            era, model_era = under_way.pop(-1 if what == "call" else number % len(under_way))
            if what == "cancel":
                breaker.release(era)
                model.release(model_era)
            else:
                breaker.record(era, 2.0 if slow else 0.5, failed=failed)
                model.record(model_era, failed, slow, now)
        assert breaker.state.value == model.state
        if breaker.state is State.HALF_OPEN:
            trials = sum(era == breaker._era for era, _ in under_way)
            assert trials + len(model.outcomes) <= permitted
        if breaker.state is State.CLOSED:
            seen = model.seen(clock.monotonic())
            live = breaker.snapshot()
            assert (live["n"], live["failures"], live["slow"]) == (
                len(seen),
                sum(o[1] for o in seen),
                sum(o[2] for o in seen),
            )


@given(outcomes=st.lists(st.booleans(), max_size=60), run_length=st.integers(1, 6))
def test_the_consecutive_breaker_opens_at_the_first_full_run(
    outcomes: list[bool], run_length: int
) -> None:
    breaker = ConsecutiveBreaker(EDGE, run_length=run_length, clock=FakeClock())
    run = 0
    for failed in outcomes:
        breaker.record(breaker.acquire(), 1e9, failed=failed)
        run = run + 1 if failed else 0
        assert (breaker.state is State.OPEN) == (run == run_length)
        if run == run_length:
            return


@pytest.mark.parametrize("outcomes", ["f", "sf", "ssf", "sss"])
def test_consecutive_trial_calls_close_it_only_if_all_succeed(outcomes: str) -> None:
    clock = FakeClock()
    breaker = ConsecutiveBreaker(EDGE, permitted_half_open=3, wait_open_s=1, clock=clock)
    for _ in range(5):
        breaker.record(breaker.acquire(), 0.0, failed=True)
    clock.tick(1)
    eras = [breaker.acquire() for _ in range(3)]
    for era, outcome in zip(eras, outcomes, strict=False):
        assert breaker.state is State.HALF_OPEN
        breaker.record(era, 0.0, failed=outcome == "f")
    assert breaker.state is (State.OPEN if "f" in outcomes else State.CLOSED)
