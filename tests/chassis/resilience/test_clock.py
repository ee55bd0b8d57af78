"""The virtual clock is deterministic and fast, and detects a deadlock."""

import asyncio

import pytest

from chassis.resilience import FakeClock


def test_an_hour_of_sleep_costs_no_time_and_wakes_in_order(clock: FakeClock) -> None:
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((clock.monotonic(), name))

    async def main() -> None:
        await asyncio.gather(sleeper("b", 3600), sleeper("a", 1), sleeper("c", 3600))

    clock.run(main())
    assert woken == [(1, "a"), (3600, "b"), (3600, "c")]


def test_timers_of_asyncio_follow_virtual_time_too(clock: FakeClock) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await clock.sleep(50)
        await asyncio.sleep(2)
        return clock.monotonic()

    assert clock.run(main()) == pytest.approx(7)


def test_waiting_without_a_timer_is_a_deadlock(clock: FakeClock) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="deadlock"):
        clock.run(main())


async def test_advance_works_inside_any_running_loop(clock: FakeClock) -> None:
    task = asyncio.create_task(clock.sleep(10))
    await clock.advance(9.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.done()


def test_a_cancelled_timer_does_not_fire(clock: FakeClock) -> None:
    fired: list[int] = []
    clock.call_later(1, lambda: fired.append(1)).cancel()
    clock.call_later(2, lambda: fired.append(2))
    clock.tick(5)
    assert fired == [2]
    assert clock.monotonic() == 5
