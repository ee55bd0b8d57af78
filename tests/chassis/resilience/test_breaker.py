"""The breaker's state table, its boundaries, and what it counts."""

import asyncio
import contextlib
from typing import Any

import pytest

from chassis.resilience import (
    Breaker,
    BreakerOpenError,
    CallFailedError,
    DeadlineExceededError,
    Event,
    FakeClock,
    RateLimitedError,
    State,
)
from tests.chassis.resilience.kit import EDGE, Bank, a_call, boom, failed, ok, only


def a_breaker(clock: FakeClock, **settings: Any) -> Breaker:
    defaults: dict[str, Any] = {
        "window_size": 10,
        "minimum_calls": 4,
        "wait_open_s": 10.0,
        "permitted_half_open": 2,
        "slow_call_duration_s": 1.0,
    }
    return Breaker(EDGE, clock=clock, **{**defaults, **settings})


def count(breaker: Breaker, *outcomes: str) -> None:
    """Record outcomes: "o" good, "x" failed, "s" slow and good."""
    for outcome in "".join(outcomes):
        breaker.record(breaker.acquire(), 2.0 if outcome == "s" else 0.1, failed=outcome == "x")


def opened(clock: FakeClock, **settings: Any) -> Breaker:
    breaker = a_breaker(clock, **settings)
    count(breaker, "xxxx")
    assert breaker.state is State.OPEN
    return breaker


def half_opened(clock: FakeClock, **settings: Any) -> Breaker:
    breaker = opened(clock, **settings)
    clock.tick(10)
    breaker.release(breaker.acquire())
    assert breaker.state is State.HALF_OPEN
    return breaker


# One row a cell of the state table: from, what happens, to, reason of the transition.
TABLE = [
    ("closed", "xxx", "closed", None),  # below the minimum the rate is undefined
    ("closed", "ooxx", "open", "failure_rate"),  # >=, not >
    ("closed", "ooox", "closed", None),
    ("closed", "osss", "open", "slow_call_rate"),
    ("open", "tick 9.99", "open", None),
    ("open", "tick 10, acquire", "half_open", "wait_elapsed"),
    ("half_open", "o", "half_open", None),
    ("half_open", "oo", "closed", "probes_passed"),
    ("half_open", "ox", "open", "failure_rate"),
    ("half_open", "xx", "open", "failure_rate"),
    ("half_open", "ss", "open", "slow_call_rate"),
    ("closed", "force_open", "forced_open", "operator"),
    ("open", "force_open", "forced_open", "operator"),
    ("half_open", "force_open", "forced_open", "operator"),
    ("closed", "disable", "disabled", "operator"),
    ("open", "disable", "disabled", "operator"),
    ("open", "observe", "metrics_only", "operator"),
    ("open", "reset", "closed", "operator"),
    ("half_open", "reset", "closed", "operator"),
    ("forced_open", "tick 10, acquire", "forced_open", None),
    ("forced_open", "reset", "closed", "operator"),
    ("disabled", "xxxxxxxx", "disabled", None),
    ("disabled", "reset", "closed", "operator"),
    ("metrics_only", "xxxxxxxx", "metrics_only", None),
]


@pytest.mark.parametrize(("before", "happening", "after", "reason"), TABLE)
def test_state_table(
    clock: FakeClock,
    events: list[Event],
    before: str,
    happening: str,
    after: str,
    reason: str | None,
) -> None:
    settings = {"slow_call_rate_threshold": 0.75}
    breaker = {
        "closed": lambda: a_breaker(clock, **settings),
        "open": lambda: opened(clock, **settings),
        "half_open": lambda: half_opened(clock, **settings),
        "forced_open": lambda: a_breaker(clock, **settings),
        "disabled": lambda: a_breaker(clock, **settings),
        "metrics_only": lambda: a_breaker(clock, **settings),
    }[before]()
    order = {"forced_open": "force_open", "disabled": "disable", "metrics_only": "observe"}
    if before in order:
        getattr(breaker, order[before])()
    breaker.listener = events.append
    if happening.startswith("tick"):
        clock.tick(float(happening.removeprefix("tick ").split(",")[0]))
        with contextlib.suppress(BreakerOpenError):
            breaker.release(breaker.acquire())
    elif hasattr(breaker, happening):
        getattr(breaker, happening)()
    else:
        count(breaker, happening)
    assert breaker.state.value == after
    transitions = only(events, "transition")
    if reason is None:
        assert transitions == []
    else:
        (transition,) = transitions
        assert (transition.previous, transition.state) == (before, after)
        assert transition.reason == reason


def test_open_rejects_with_the_time_left(clock: FakeClock, events: list[Event]) -> None:
    breaker = opened(clock, listener=events.append)
    clock.tick(4)
    with pytest.raises(BreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after_s == 6
    assert caught.value.definite
    assert only(events, "rejection")[0].wait_s == 6


def test_half_open_admits_only_the_permitted_trial_calls(clock: FakeClock) -> None:
    breaker = half_opened(clock)
    first, second = breaker.acquire(), breaker.acquire()
    with pytest.raises(BreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after_s is None
    breaker.record(first, 0.1)
    breaker.record(second, 0.1)
    assert breaker.state is State.CLOSED


def test_half_open_decides_before_all_trial_calls_return_if_the_minimum_is_smaller(
    clock: FakeClock,
) -> None:
    breaker = opened(clock, permitted_half_open=6)  # minimum_calls is 4
    clock.tick(10)
    eras = [breaker.acquire() for _ in range(6)]
    for era in eras[:4]:
        breaker.record(era, 0.1)
    assert breaker.state is State.CLOSED
    for era in eras[4:]:
        breaker.record(era, 0.1, failed=True)
    assert breaker.snapshot()["n"] == 0, "late trial calls do not count in a later state"


def test_an_outcome_counts_only_in_the_state_that_admitted_its_call(clock: FakeClock) -> None:
    breaker = a_breaker(clock)
    early = breaker.acquire()
    count(breaker, "xxxx")
    clock.tick(10)
    breaker.release(breaker.acquire())
    breaker.record(early, 0.1, failed=True)
    breaker.release(early)
    assert breaker.snapshot()["n"] == 0
    assert [breaker.acquire(), breaker.acquire()], "a stale release frees no permit"
    with pytest.raises(BreakerOpenError):
        breaker.acquire()


def test_trial_calls_that_never_return_reopen_after_half_open_s_max(clock: FakeClock) -> None:
    breaker = half_opened(clock, half_open_s_max=5.0)
    breaker.acquire()
    breaker.acquire()
    clock.tick(5)
    with pytest.raises(BreakerOpenError):
        breaker.acquire()
    assert breaker.state is State.OPEN


def test_a_slow_failure_counts_as_failed_and_slow(clock: FakeClock) -> None:
    breaker = a_breaker(clock)
    breaker.record(breaker.acquire(), 5.0, failed=True)
    live = breaker.snapshot()
    assert (live["n"], live["failures"], live["slow"]) == (1, 1, 1)


def test_exactly_the_slow_duration_is_not_slow(clock: FakeClock) -> None:
    breaker = a_breaker(clock)
    breaker.record(breaker.acquire(), 1.0)
    breaker.record(breaker.acquire(), 1.0000001)
    assert breaker.snapshot()["slow"] == 1


def test_the_minimum_is_at_most_the_size_of_a_count_window(clock: FakeClock) -> None:
    breaker = a_breaker(clock, window_size=3, minimum_calls=100)
    count(breaker, "xxx")
    assert breaker.state is State.OPEN


def test_time_window_forgets_old_seconds(clock: FakeClock) -> None:
    breaker = a_breaker(clock, window="TIME_BASED", window_size=5)
    count(breaker, "xxx")
    clock.tick(5)
    count(breaker, "xxx")
    assert (breaker.state, breaker.snapshot()["n"]) == (State.CLOSED, 3)
    clock.tick(4.9)
    count(breaker, "x")
    assert breaker.state is State.OPEN


@pytest.mark.parametrize(
    ("error", "n", "failures"),
    [
        (failed(), 1, 1),
        (ValueError(), 1, 1),
        (
            RateLimitedError("rejected by an inner policy"),
            0,
            0,
        ),  # a rejected call is not a failed one
        (DeadlineExceededError(definite=True), 0, 0),  # never started
        (DeadlineExceededError(), 1, 1),
        (KeyError(), 0, 0),  # ignored below
    ],
)
def test_what_counts_as_failed(clock: FakeClock, error: Exception, n: int, failures: int) -> None:
    breaker = half_opened(clock, permitted_half_open=4, ignored=(KeyError,))
    bank = Bank(clock, (0.1, error))

    async def main() -> None:
        with pytest.raises(type(error)):
            await breaker.run(bank, a_call())

    clock.run(main())
    live = breaker.snapshot()
    assert (live["n"], live["failures"]) == (n, failures)
    permits = 0
    while permits < 10:
        try:
            breaker.acquire()
        except BreakerOpenError:
            break
        permits += 1
    assert permits == 4 - n, "a call that is not counted frees its permit"


def test_an_error_that_is_not_recorded_counts_as_good(clock: FakeClock) -> None:
    breaker = a_breaker(clock, recorded=(CallFailedError,))

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await breaker.run(Bank(clock, (0, ZeroDivisionError())), a_call())

    clock.run(main())
    assert breaker.snapshot()["n"] == 1
    assert breaker.snapshot()["failures"] == 0


def test_a_cancelled_trial_call_is_not_counted_and_frees_its_permit(clock: FakeClock) -> None:
    breaker = half_opened(clock, permitted_half_open=1)

    async def main() -> str:
        trial = asyncio.create_task(breaker.run(Bank(clock, (5, "ok")), a_call()))
        await clock.sleep(1)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        assert breaker.state is State.HALF_OPEN
        return await breaker.run(ok, a_call())

    assert clock.run(main()) == "ok"
    assert breaker.state is State.CLOSED


def test_every_outcome_is_an_evaluation_event(clock: FakeClock, events: list[Event]) -> None:
    breaker = a_breaker(clock, listener=events.append)

    async def main() -> None:
        for attempt in (ok, boom, ok):
            with contextlib.suppress(CallFailedError):
                await breaker.run(attempt, a_call())

    clock.run(main())
    assert [(e.kind, e.n, e.failures, e.state) for e in events] == [
        ("evaluation", 1, 0, "closed"),
        ("evaluation", 2, 1, "closed"),
        ("evaluation", 3, 1, "closed"),
    ]


def test_a_listener_that_raises_does_not_affect_the_call(clock: FakeClock) -> None:
    def deaf(event: Event) -> None:
        raise OSError("disk full")

    assert clock.run(a_breaker(clock, listener=deaf).run(ok, a_call())) == "ok"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("window", "SLIDING"),
        ("window_size", 0),
        ("failure_rate_threshold", 0.0),
        ("failure_rate_threshold", 1.1),
        ("slow_call_rate_threshold", 2),
        ("slow_call_duration_s", 0),
        ("minimum_calls", 0),
        ("wait_open_s", 0),
        ("permitted_half_open", 0),
        ("half_open_s_max", -1),
    ],
)
def test_a_wrong_setting_is_named(clock: FakeClock, setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting):
        a_breaker(clock, **{setting: value})
