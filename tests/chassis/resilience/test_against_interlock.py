"""The same calls through interlock-cb's breaker and ours: both agree wherever both define the behaviour.

Where they differ, ours follows resilience4j, and the last tests check each difference:

| what | interlock-cb | here |
|---|---|---|
| exactly the slow duration | slow (>=) | not slow (>) |
| minimum above a count window's size | never opens | the window's size counts |
| half-open verdict | after all permitted trial calls | after min(minimum, permitted) |
| trial calls at once | one by default, a setting | all permitted |
| entering metrics-only | keeps the window | starts an empty one |

So the differential runs keep the minimum between the trial calls and the window, allow all trial calls
at once and avoid durations of exactly the threshold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

import interlock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.resilience import Breaker, BreakerOpenError, FakeClock, State
from tests.chassis.resilience.kit import EDGE, a_call

SLOW_S = 1.0


class Gate:
    """A call in flight that the test ends. No event loop is needed."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def attempt(*_: object) -> None:
    await Gate()


class Both:
    """One breaker of each kind on one clock, with the same calls."""

    def __init__(self, window: str, size: int, minimum: int, permitted: int, **rates: Any) -> None:
        self.clock = FakeClock(start=100.0)
        self.ours = Breaker(
            EDGE,
            window=window,  # type: ignore[arg-type]
            window_size=size,
            minimum_calls=minimum,
            permitted_half_open=permitted,
            wait_open_s=5.0,
            slow_call_duration_s=SLOW_S,
            clock=self.clock,
            **rates,
        )
        self.theirs = interlock.CircuitBreaker(
            name=EDGE,
            clock=self.clock,
            config=interlock.Config(
                window_type=interlock.WindowType[window],
                window_size=size,
                minimum_number_of_calls=minimum,
                permitted_calls_in_half_open=permitted,
                max_concurrent_probes=permitted,
                wait_duration_in_open=5.0,
                slow_call_duration_threshold=SLOW_S,
                **rates,
            ),
        )
        self.in_flight: list[tuple[Coroutine[Any, Any, None], Any]] = []

    def start(self) -> None:
        pair = self.ours.run(attempt, a_call()), self.theirs.call_async(attempt)
        admitted = [_step(pair[0]), _step(pair[1])]
        assert admitted[0] == admitted[1]
        if admitted[0] == "suspended":
            self.in_flight.append(pair)

    def finish(self, number: int, error: BaseException | None = None) -> None:
        if self.in_flight:
            for call in self.in_flight.pop(number % len(self.in_flight)):
                _step(call, error)

    def assert_equal(self) -> None:
        assert self.ours.state.value == self.theirs.state.value
        if self.ours.state is State.CLOSED:
            live, window = self.ours.snapshot(), self.theirs.snapshot()
            assert (live["n"], live["failures"], live["slow"]) == (
                window.total_calls,
                window.failed_calls,
                window.slow_calls,
            )


def _step(call: Any, error: BaseException | None = None) -> str:
    try:
        if error is None:
            call.send(None)
        else:
            call.throw(error)
    except StopIteration:
        return "returned"
    except (BreakerOpenError, interlock.CircuitOpenError):
        return "rejected"
    except (ZeroDivisionError, asyncio.CancelledError):
        return "failed"
    return "suspended"


NUMBER = st.integers(0, 20)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.booleans()),
        st.tuples(st.just("call"), st.booleans()),
        st.tuples(st.just("slow call"), st.booleans()),
        st.tuples(st.just("start"), NUMBER),
        st.tuples(st.just("good"), NUMBER),
        st.tuples(st.just("bad"), NUMBER),
        st.tuples(st.just("cancel"), NUMBER),
        st.tuples(st.just("tick"), st.sampled_from([0.3, 0.8, 1.7, 5.0])),
        st.tuples(st.sampled_from(["force_open", "disable", "reset", "reset"]), NUMBER),
    ),
    max_size=150,
)
RATES = st.sampled_from([0.2, 0.5, 0.6, 1.0])


@settings(max_examples=300, deadline=None)
@given(
    window=st.sampled_from(["COUNT_BASED", "TIME_BASED"]),
    permitted=st.integers(1, 3),
    above=st.integers(0, 3),
    room=st.integers(0, 6),
    failure_rate=RATES,
    slow_rate=RATES,
    steps=STEPS,
)
def test_the_same_calls_give_the_same_states_and_counts(
    window: str,
    permitted: int,
    above: int,
    room: int,
    failure_rate: float,
    slow_rate: float,
    steps: list[tuple[str, Any]],
) -> None:
    minimum = permitted + above
    both = Both(
        window,
        minimum + room,
        minimum,
        permitted,
        failure_rate_threshold=failure_rate,
        slow_call_rate_threshold=slow_rate,
    )
    for what, argument in steps:
        if what == "tick":
            both.clock.tick(argument)
        elif what.endswith("call"):
            before = len(both.in_flight)
            both.start()
            both.clock.tick(1.3 * SLOW_S if what == "slow call" else 0.01)
            if len(both.in_flight) > before:
                both.finish(before, ZeroDivisionError() if argument else None)
        elif what == "start":
            both.start()
        elif what == "good":
            both.finish(argument)
        elif what == "bad":
            both.finish(argument, ZeroDivisionError())
        elif what == "cancel":
            both.finish(argument, asyncio.CancelledError())
        else:
            getattr(both.ours, what)()
            getattr(both.theirs, what)()
        both.assert_equal()
    for call in (call for pair in both.in_flight for call in pair):
        call.close()


def feed(both: Both, failures: int, goods: int = 0) -> None:
    for number in range(failures + goods):
        both.start()
        both.finish(0, ZeroDivisionError() if number < failures else None)


def test_difference_exactly_the_slow_duration() -> None:
    both = Both("COUNT_BASED", 10, 10, 1)
    both.start()
    both.clock.tick(SLOW_S)
    both.finish(0)
    assert (both.ours.snapshot()["slow"], both.theirs.snapshot().slow_calls) == (0, 1)


def test_difference_minimum_above_the_window() -> None:
    both = Both("COUNT_BASED", 5, 10, 1)
    for _ in range(5):
        both.start()
        both.finish(0, ZeroDivisionError())
    assert both.ours.state is State.OPEN
    assert both.theirs.state is interlock.State.CLOSED


def test_difference_half_open_verdict_at_the_minimum() -> None:
    both = Both("COUNT_BASED", 10, 2, 5)
    feed(both, failures=2)
    both.assert_equal()
    both.clock.tick(5)
    feed(both, failures=0, goods=2)
    assert both.ours.state is State.CLOSED
    assert both.theirs.state is interlock.State.HALF_OPEN


def test_difference_metrics_only_starts_an_empty_window() -> None:
    both = Both("COUNT_BASED", 10, 10, 1)
    feed(both, failures=3)
    both.ours.observe()
    both.theirs.metrics_only()
    assert both.ours.snapshot()["n"] == 0
    assert both.theirs.snapshot().total_calls == 3


@pytest.mark.parametrize("window", ["COUNT_BASED", "TIME_BASED"])
def test_a_thousand_overlapping_calls_agree(window: str) -> None:
    both = Both(window, 50, 20, 5)
    for number in range(1000):
        both.start()
        both.clock.tick(0.01)
        if number % 3:
            both.finish(number * 7, ZeroDivisionError() if number % 5 < 3 else None)
        both.assert_equal()
    for call in (call for pair in both.in_flight for call in pair):
        call.close()
