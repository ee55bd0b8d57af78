"""Timeout cancels late attempts with the reason, and respects cancellations by other code."""

import asyncio
import contextlib

import pytest

from chassis.resilience import DeadlineExceededError, Event, FakeClock, TimedOutError, Timeout
from tests.chassis.resilience.kit import Bank, a_call


def test_an_answer_in_time_passes(clock: FakeClock) -> None:
    assert clock.run(Timeout(2, clock=clock).run(Bank(clock, (1.9, "ok")), a_call())) == "ok"


def test_a_late_attempt_is_cancelled_and_indefinite(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (2.1, "ok"))

    async def main() -> None:
        with pytest.raises(TimedOutError) as caught:
            await Timeout(2, clock=clock, listener=events.append).run(bank, a_call())
        assert clock.monotonic() == 2
        assert not caught.value.definite
        assert caught.value.retryable

    clock.run(main())
    assert bank.in_flight == 0
    assert bank.finished == 0
    assert [(e.kind, e.reason, e.duration_s) for e in events] == [("timeout", "timeout", 2)]


def test_the_deadline_wins_when_it_is_sooner(clock: FakeClock, events: list[Event]) -> None:
    async def main() -> None:
        timeout = Timeout(2, clock=clock, listener=events.append)
        with pytest.raises(DeadlineExceededError) as caught:
            await timeout.run(Bank(clock, (5, "ok")), a_call(deadline=0.5))
        assert clock.monotonic() == 0.5
        assert not caught.value.definite

    clock.run(main())
    assert events[0].reason == "deadline"


def test_expired_work_never_starts(clock: FakeClock, events: list[Event]) -> None:
    bank = Bank(clock, (0, "ok"))

    async def main() -> None:
        await clock.sleep(1)
        timeout = Timeout(2, clock=clock, listener=events.append)
        with pytest.raises(DeadlineExceededError) as caught:
            await timeout.run(bank, a_call(deadline=1.0))
        assert caught.value.definite

    clock.run(main())
    assert bank.calls == 0
    assert events[0].kind == "rejection"


def test_many_at_once_each_get_their_own_full_time(clock: FakeClock) -> None:
    timeout = Timeout(1, clock=clock)

    async def one(start: float, takes: float) -> tuple[float, str]:
        await clock.sleep(start)
        try:
            await timeout.run(Bank(clock, (takes, "ok")), a_call())
            return clock.monotonic(), "ok"
        except TimedOutError:
            return clock.monotonic(), "late"

    async def main() -> list[tuple[float, str]]:
        return await asyncio.gather(*(one(i / 10, 0.5 if i % 3 else 9) for i in range(100)))

    for i, (at, outcome) in enumerate(clock.run(main())):
        late = i % 3 == 0
        assert outcome == ("late" if late else "ok")
        assert at == pytest.approx(i / 10 + (1 if late else 0.5))
    assert not timeout._guards


def test_a_cancellation_by_other_code_stays_a_cancellation(clock: FakeClock) -> None:
    timeout = Timeout(5, clock=clock)

    async def main() -> None:
        task = asyncio.create_task(timeout.run(Bank(clock, (10, "ok")), a_call()))
        await clock.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    clock.run(main())
    assert timeout.timed_out == 0


def test_a_cancellation_at_the_same_time_is_not_swallowed(clock: FakeClock) -> None:
    async def main() -> None:
        task = asyncio.create_task(Timeout(1, clock=clock).run(Bank(clock, (10, "ok")), a_call()))
        await asyncio.sleep(0)  # the task arms its timer first, then ours for the same instant
        clock.call_later(1, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    clock.run(main())


def test_an_attempt_that_swallows_the_cancellation_keeps_its_answer(clock: FakeClock) -> None:
    async def stubborn(call: object) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await clock.sleep(10)
        return "done anyway"

    async def main() -> None:
        assert await Timeout(1, clock=clock).run(stubborn, a_call()) == "done anyway"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await clock.sleep(1)  # and this task is not left cancelled

    clock.run(main())


def test_of_nested_timeouts_the_shorter_one_raises(clock: FakeClock) -> None:
    outer, inner = Timeout(3, clock=clock), Timeout(1, clock=clock)

    async def main() -> None:
        with pytest.raises(TimedOutError, match="1 s"):
            await outer.run(lambda call: inner.run(Bank(clock, (10, "ok")), call), a_call())
        with pytest.raises(TimedOutError, match="1 s"):
            await inner.run(lambda call: outer.run(Bank(clock, (10, "ok")), call), a_call())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await inner.run(Bank(clock, (10, "ok")), a_call())

    clock.run(main())


def test_one_timeout_survives_a_new_event_loop() -> None:
    timeout = Timeout(0.01)

    async def hang(call: object) -> None:
        await asyncio.sleep(30)  # longer than the timeout

    for _ in range(2):
        with pytest.raises(TimedOutError):
            asyncio.run(timeout.run(hang, a_call()))
