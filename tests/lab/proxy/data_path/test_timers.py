"""The proxy's precise timers, on a kernel timer and on the event loop alone."""

import asyncio
import time
from functools import partial

import pytest

from lab.proxy.data_path import timerfd
from lab.proxy.data_path.timers import Timers


@pytest.fixture(params=["timerfd", "loop only"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "loop only":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    return str(request.param)


async def test_timers_are_never_early_and_fire_in_order(source: str) -> None:
    timers = Timers(asyncio.get_running_loop())
    fired: list[tuple[float, float]] = []
    done = asyncio.Event()

    def fire(when_s: float) -> None:
        fired.append((when_s, time.monotonic()))
        if len(fired) == 50:
            done.set()

    start_s = time.monotonic()
    for number in range(50):
        when_s = start_s + (number * 37 % 50) / 1000
        timers.at(when_s, partial(fire, when_s))
        timers.at(when_s, lambda: pytest.fail("a cancelled timer fired")).cancel()
    await asyncio.wait_for(done.wait(), 5)
    timers.close()
    assert [when_s for when_s, _ in fired] == sorted(when_s for when_s, _ in fired)
    assert all(fired_s >= when_s for when_s, fired_s in fired)


async def test_a_timer_that_raises_does_not_stop_the_others(source: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    timers = Timers(loop)
    done = asyncio.Event()
    now_s = time.monotonic()

    def fail() -> None:
        raise RuntimeError("planned")

    timers.at(now_s, fail)
    timers.at(now_s, done.set)
    await asyncio.wait_for(done.wait(), 5)
    timers.close()
