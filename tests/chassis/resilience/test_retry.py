"""Retry repeats only safe calls, pauses with jitter, and stops at each of its limits."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.resilience import (
    BreakerOpenError,
    CallError,
    CallFailedError,
    Event,
    FakeClock,
    Retry,
    RetryBudget,
    TimedOutError,
)
from tests.chassis.resilience.kit import Bank, a_call, failed, only


def a_retry(clock: FakeClock, **settings: Any) -> Retry:
    return Retry(**{"max_attempts": 3, "rng": random.Random(1), "clock": clock, **settings})


# error, idempotent, attempts made, reason for giving up
TABLE: list[tuple[Exception, bool, int, str]] = [
    (failed(), True, 3, "attempts"),
    (failed(), False, 1, "not_idempotent"),
    (failed(definite=True), False, 3, "attempts"),
    (failed(retryable=False), True, 1, "not_retryable"),
    (TimedOutError(), True, 3, "attempts"),
    (TimedOutError(), False, 1, "not_idempotent"),
    (BreakerOpenError(), True, 1, "not_retryable"),
]


@pytest.mark.parametrize(("error", "idempotent", "attempts", "reason"), TABLE)
def test_retry_table(
    clock: FakeClock,
    events: list[Event],
    error: Exception,
    idempotent: bool,
    attempts: int,
    reason: str,
) -> None:
    bank = Bank(clock, (0, error))
    call = a_call(idempotent=idempotent)

    async def main() -> None:
        with pytest.raises(type(error)):
            await a_retry(clock, listener=events.append).run(bank, call)

    clock.run(main())
    assert bank.calls == attempts == call.attempt
    assert [e.attempt for e in only(events, "attempt")] == list(range(2, attempts + 1))
    assert [e.reason for e in only(events, "give_up")] == [reason]


def test_a_success_after_failures_is_a_success(clock: FakeClock) -> None:
    bank = Bank(clock, (0, failed()), (0, failed()), (0, "ok"))
    call = a_call()
    assert clock.run(a_retry(clock).run(bank, call)) == "ok"
    assert call.attempt == 3


def test_pauses_are_full_jitter_below_a_doubling_capped_maximum(clock: FakeClock) -> None:
    retry = a_retry(clock, max_attempts=8, backoff_base_s=0.1, backoff_cap_s=1.0)
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    for number, ceiling in enumerate(ceilings, start=1):
        pauses = [retry._backoff_s(number) for _ in range(500)]
        assert 0 <= min(pauses) < 0.05 * ceiling
        assert 0.95 * ceiling < max(pauses) <= ceiling


def test_retry_after_is_honoured_and_jittered_on_top(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (0, failed(status=503, retry_after_s=2.0)), (0, "ok"))
    clock.run(a_retry(clock, backoff_base_s=0.5, listener=events.append).run(bank, a_call()))
    assert 2.0 <= clock.monotonic() <= 2.5
    assert events[0].wait_s == clock.monotonic()


def test_a_long_retry_after_ends_the_retries_at_once(clock: FakeClock, events: list[Event]) -> None:
    def retry(retry_after_s: float) -> tuple[int, float]:
        bank = Bank(clock, (0, failed(retry_after_s=retry_after_s)))
        policy = Retry(
            2, retry_after_s_max=0.5, rng=random.Random(1), clock=clock, listener=events.append
        )
        began = clock.monotonic()
        with pytest.raises(CallFailedError) as caught:
            clock.run(policy.run(bank, a_call()))
        assert caught.value.retry_after_s == retry_after_s
        return bank.calls, clock.monotonic() - began

    assert retry(0.5)[0] == 2
    assert retry(0.6) == (1, 0.0)
    assert events[-1].reason == "retry_after"


def test_no_pause_reaches_past_the_deadline(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (0, failed(retry_after_s=2.0)))

    async def main() -> None:
        with pytest.raises(CallFailedError):
            await a_retry(clock, listener=events.append).run(bank, a_call(deadline=1.9))

    clock.run(main())
    assert clock.monotonic() == 0
    assert events[-1].reason == "deadline"


def test_a_spent_budget_stops_retries_and_raises_the_real_error(
    clock: FakeClock, events: list[Event]
) -> None:
    budget = RetryBudget(capacity=2, deposit=0.1)
    retry = a_retry(clock, max_attempts=10, budget=budget, listener=events.append)
    bank = Bank(clock, (0, failed()))

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(CallFailedError):
                await retry.run(bank, a_call())

    clock.run(main())
    assert bank.calls == 5 + 2
    assert [e.reason for e in only(events, "give_up")] == ["budget"] * 5


def test_a_success_adds_to_the_budget(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=10, deposit=0.5)
    budget.tokens = 0.0
    clock.run(a_retry(clock, budget=budget).run(Bank(clock, (0, "ok")), a_call()))
    assert budget.tokens == 0.5


def test_a_lab_can_leave_the_budget_out_of_one_call(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=1)
    bank = Bank(clock, (0, failed()))

    async def main() -> None:
        call = a_call(disabled=frozenset({"budget"}))
        with pytest.raises(CallFailedError):
            await a_retry(clock, max_attempts=4, budget=budget).run(bank, call)

    clock.run(main())
    assert bank.calls == 4
    assert budget.tokens == 1


def test_a_definite_last_error_is_indefinite_if_an_earlier_attempt_may_have_happened(
    clock: FakeClock,
) -> None:
    bank = Bank(clock, (0, TimedOutError()), (0, BreakerOpenError()))

    async def main() -> CallError:
        with pytest.raises(BreakerOpenError) as caught:
            await a_retry(clock).run(bank, a_call())
        return caught.value

    assert not clock.run(main()).definite


def test_other_errors_are_retried_only_if_named(clock: FakeClock) -> None:
    async def main(retry: Retry) -> int:
        bank = Bank(clock, (0, ConnectionResetError()))
        with pytest.raises(ConnectionResetError):
            await retry.run(bank, a_call())
        return bank.calls

    assert clock.run(main(a_retry(clock))) == 1
    assert clock.run(main(a_retry(clock, retry_on=(OSError,)))) == 3


@given(
    steps=st.lists(st.booleans(), max_size=300),
    capacity=st.integers(1, 20),
    deposit=st.sampled_from([0.0, 0.1, 0.2, 0.5]),
)
def test_the_budget_is_never_exceeded(steps: list[bool], capacity: int, deposit: float) -> None:
    budget = RetryBudget(capacity, deposit)
    successes = retries = 0
    for success in steps:
        if success:
            budget.deposit()
            successes += 1
        else:
            retries += budget.try_spend()
        assert retries <= capacity + deposit * successes + 1e-6
        assert 0 <= budget.tokens <= capacity


def test_ten_successes_pay_for_one_retry() -> None:
    budget = RetryBudget(capacity=1, deposit=0.1)
    assert budget.try_spend()
    for _ in range(9):
        budget.deposit()
    assert not budget.try_spend()
    budget.deposit()
    assert budget.try_spend()
