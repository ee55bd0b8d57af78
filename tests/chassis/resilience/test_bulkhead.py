"""Bulkhead: a limit for running and for waiting calls, and no permit is lost."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.resilience import Bulkhead, BulkheadFullError, DeadlineExceededError, Event, FakeClock
from tests.chassis.resilience.kit import EDGE, Bank, a_call


def a_bulkhead(clock: FakeClock, permits: int = 2, **settings: Any) -> Bulkhead:
    return Bulkhead(EDGE, permits, clock=clock, **settings)


def test_full_without_a_queue_rejects_at_once(clock: FakeClock, events: list[Event]) -> None:
    bulkhead = a_bulkhead(clock, listener=events.append)
    bank = Bank(clock, (1, "ok"))

    async def main() -> list[Any]:
        calls = (bulkhead.run(bank, a_call()) for _ in range(3))
        return await asyncio.gather(*calls, return_exceptions=True)

    *answers, refused = clock.run(main())
    assert answers == ["ok", "ok"]
    assert isinstance(refused, BulkheadFullError)
    assert refused.reason == "full"
    assert refused.definite
    assert [(e.kind, e.reason, e.n) for e in events] == [("rejection", "full", 2)]


def test_the_queue_is_first_come_first_served(clock: FakeClock) -> None:
    bulkhead = a_bulkhead(clock, 1, queue=5, wait_s_max=10)
    order: list[int] = []

    async def one(number: int) -> None:
        async def work(call: object) -> None:
            order.append(number)
            await clock.sleep(1)

        await bulkhead.run(work, a_call())

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(6)))

    clock.run(main())
    assert order == list(range(6))
    assert clock.monotonic() == 6


def test_the_wait_in_the_queue_is_limited(clock: FakeClock) -> None:
    bulkhead = a_bulkhead(clock, 1, queue=5, wait_s_max=0.5)
    bank = Bank(clock, (2, "ok"))

    async def main() -> None:
        first = asyncio.create_task(bulkhead.run(bank, a_call()))
        await clock.sleep(1)
        with pytest.raises(BulkheadFullError) as caught:
            await bulkhead.run(bank, a_call())
        assert (caught.value.reason, clock.monotonic()) == ("waited", 1.5)
        await first

    clock.run(main())
    assert (bulkhead.in_flight, bulkhead.waiting, bank.calls) == (0, 0, 1)


def test_a_deadline_in_the_queue_is_definite(clock: FakeClock) -> None:
    bulkhead = a_bulkhead(clock, 1, queue=5, wait_s_max=9)
    bank = Bank(clock, (5, "ok"))

    async def main() -> None:
        first = asyncio.create_task(bulkhead.run(bank, a_call()))
        await clock.sleep(1)
        with pytest.raises(DeadlineExceededError) as caught:
            await bulkhead.run(bank, a_call(deadline=1.25))
        assert caught.value.definite
        await first

    clock.run(main())


def test_a_permit_of_a_call_cancelled_at_the_same_time_goes_to_the_next(clock: FakeClock) -> None:
    bulkhead = a_bulkhead(clock, 1, queue=5, wait_s_max=60)
    bank = Bank(clock, (1, "ok"))

    async def main() -> str:
        async def first() -> None:
            await bulkhead.run(bank, a_call())  # hands its permit to the second, which has not run
            assert second.cancel()

        one = asyncio.create_task(first())
        await asyncio.sleep(0)
        second = asyncio.create_task(bulkhead.run(bank, a_call()))
        third = asyncio.create_task(bulkhead.run(bank, a_call()))
        await one
        answer = await third
        assert second.cancelled()
        return answer

    assert clock.run(main()) == "ok"
    assert (bulkhead.in_flight, bulkhead.waiting) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(
    permits=st.integers(1, 4),
    queue=st.integers(0, 5),
    tasks=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 10), st.one_of(st.none(), st.integers(0, 15))),
        max_size=30,
    ),
)
def test_never_more_than_the_permits_and_nothing_leaks(
    permits: int, queue: int, tasks: list[tuple[int, int, int | None]]
) -> None:
    clock = FakeClock()
    bulkhead = a_bulkhead(clock, permits, queue=queue, wait_s_max=0.4)
    now_in = most = 0

    async def one(start: int, takes: int, cancel: int | None) -> None:
        async def work(call: object) -> None:
            nonlocal now_in, most
            now_in += 1
            most = max(most, now_in)
            try:
                await clock.sleep(takes / 10)
            finally:
                now_in -= 1

        await clock.sleep(start / 10)
        task = asyncio.create_task(bulkhead.run(work, a_call()))
        if cancel is not None:
            clock.call_later(cancel / 10, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(task.exception(), BulkheadFullError | None)

    async def main() -> None:
        await asyncio.gather(*(one(*task) for task in tasks))

    clock.run(main())
    assert most <= permits
    assert (bulkhead.in_flight, bulkhead.waiting, now_in) == (0, 0, 0)
