"""Hedge: a second copy of a slow safe read, no third one, and none of a call with an effect."""

import asyncio
import random
from collections.abc import Callable

import pytest

from chassis.resilience import CallFailedError, Event, FakeClock, Hedge, RetryBudget, TimedOutError
from chassis.resilience.clock import Timer
from tests.chassis.resilience.kit import Bank, a_call, failed


def test_a_quick_answer_needs_no_hedge(clock: FakeClock) -> None:
    bank = Bank(clock, (0.09, "ok"))
    assert clock.run(Hedge(0.1, clock=clock).run(bank, a_call())) == "ok"
    assert bank.calls == 1


def test_a_slow_call_is_overtaken_and_cancelled(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (5, "slow"), (0.2, "fast"))

    async def main() -> None:
        assert await Hedge(0.1, clock=clock, listener=events.append).run(bank, a_call()) == "fast"
        assert clock.monotonic() == pytest.approx(0.3)
        await asyncio.sleep(0)
        assert bank.in_flight == 0

    clock.run(main())
    assert [e.reason for e in events] == ["started", "won"]


class EarlyClock(FakeClock):
    """Its timers fire a millisecond early, as those of an event loop with that resolution can."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return super().call_later(seconds - 0.001, callback)


def test_an_early_timer_starts_the_copy_too() -> None:
    clock = EarlyClock()
    bank = Bank(clock, (5, "slow"), (0.2, "fast"))
    assert clock.run(Hedge(0.1, clock=clock).run(bank, a_call())) == "fast"


def test_the_first_copy_can_still_win(clock: FakeClock) -> None:
    bank = Bank(clock, (0.2, "first"), (5, "second"))
    assert clock.run(Hedge(0.1, clock=clock).run(bank, a_call())) == "first"
    assert clock.monotonic() == pytest.approx(0.2)


def test_a_call_with_an_effect_is_never_hedged(clock: FakeClock) -> None:
    bank = Bank(clock, (5, "ok"))
    clock.run(Hedge(0.1, clock=clock).run(bank, a_call(idempotent=False)))
    assert bank.calls == 1


def test_a_failure_before_the_delay_is_not_hedged(clock: FakeClock) -> None:
    bank = Bank(clock, (0.05, failed()), (0, "ok"))

    async def main() -> None:
        with pytest.raises(CallFailedError):
            await Hedge(0.1, clock=clock).run(bank, a_call())

    clock.run(main())
    assert bank.calls == 1


def test_one_failed_copy_waits_for_the_other(clock: FakeClock) -> None:
    bank = Bank(clock, (1, failed()), (2, "ok"))
    assert clock.run(Hedge(0.1, clock=clock).run(bank, a_call())) == "ok"


def test_when_all_copies_fail_the_error_is_indefinite_if_any_of_them_is(clock: FakeClock) -> None:
    bank = Bank(clock, (1, TimedOutError()), (2, failed(definite=True)))

    async def main() -> None:
        with pytest.raises(CallFailedError) as caught:
            await Hedge(0.1, clock=clock).run(bank, a_call())
        assert not caught.value.definite

    clock.run(main())


def test_copies_max_is_the_limit(clock: FakeClock) -> None:
    bank = Bank(clock, (5, "ok"))
    clock.run(Hedge(0.1, copies_max=3, clock=clock).run(bank, a_call()))
    assert bank.calls == 3


def test_a_spent_budget_stops_hedging(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (1, "ok"))
    hedge = Hedge(
        0.1, budget=RetryBudget(capacity=2, deposit=0), clock=clock, listener=events.append
    )

    async def main() -> None:
        for _ in range(5):
            await hedge.run(bank, a_call())

    clock.run(main())
    assert bank.calls == 5 + 2
    assert [e.reason for e in events].count("budget") == 3


def test_cancelling_the_call_cancels_every_copy(clock: FakeClock) -> None:
    bank = Bank(clock, (5, "ok"))

    async def main() -> None:
        task = asyncio.create_task(Hedge(0.1, clock=clock).run(bank, a_call()))
        await clock.sleep(1)
        assert bank.in_flight == 2
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert bank.in_flight == 0

    clock.run(main())


def test_the_delay_follows_the_quantile(clock: FakeClock) -> None:
    hedge = Hedge(9, quantile=0.9, clock=clock)
    rng = random.Random(5)
    bank = Bank(clock, *[(rng.random(), "ok") for _ in range(3000)])

    async def main() -> None:
        for _ in range(2000):
            await hedge.run(bank, a_call())

    clock.run(main())
    assert 0.8 <= hedge.delay_s <= 0.97
    assert 0.07 <= hedge.hedged / 2000 <= 0.13, "at the 90% quantile a tenth is sent twice"
