"""How full an instance is by `/metrics`: its event loop, its pool, its policies."""

import asyncio
import re
import time
from functools import partial

import pytest

from chassis.clock import SystemClock
from chassis.edge_policies.saturation import LOOP_LAG_SECONDS, TICK_S, LoopLag
from chassis.postgres.database import POOL_SIZE_MIN
from tests.chassis.echo import Echo
from tests.fixtures.waiting import wait_until_async


def ticks() -> tuple[int, float]:
    """The number of ticks, and the sum of their lags in seconds."""
    series = LOOP_LAG_SECONDS.labels()
    return sum(series.counts), series.sum


async def test_a_blocked_loop_counts_every_tick_it_missed() -> None:
    lag = LoopLag(SystemClock())
    lag.read()
    watching = asyncio.create_task(lag.watch())
    first, _ = ticks()
    await wait_until_async(lambda: ticks()[0] > first, "a tick")
    count, total_s = ticks()
    time.sleep(1.0)  # noqa: ASYNC251 - the test must block the loop
    await wait_until_async(lambda: ticks()[0] > count, "the late ticks")
    watching.cancel()
    missed, lag_s = ticks()[0] - count, ticks()[1] - total_s
    assert missed >= 1.0 / TICK_S - 1, "each due tick, not only the waiting one"
    assert lag_s >= 0.9 * sum(TICK_S * n for n in range(9)), "each with its own delay"


async def test_the_loop_is_watched_while_its_metrics_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chassis.edge_policies.saturation.READ_S", 2 * TICK_S)
    lag = LoopLag(SystemClock())
    watching = asyncio.create_task(lag.watch())
    for _ in range(2):
        await wait_until_async(lambda: not lag._read.is_set(), "no longer read")
        count, _ = ticks()
        await asyncio.sleep(3 * TICK_S)
        assert ticks()[0] == count
        lag.read()
        await wait_until_async(partial(_more_ticks, count), "a tick after a scrape")
    watching.cancel()


def _more_ticks(count: int) -> bool:
    return ticks()[0] > count


async def test_a_scrape_starts_the_watch_of_the_loop(echo: Echo) -> None:
    name = "event_loop_lag_seconds_count"
    assert not echo.service._loop_lag._read.is_set(), "a start is no scrape"
    before = (await metrics(echo))[name]

    async def more() -> bool:
        return (await metrics(echo))[name] > before

    await wait_until_async(more, "ticks after the scrape")


async def metrics(echo: Echo) -> dict[str, float]:
    _, text, _ = await echo.call("GET", "/metrics")
    samples = re.findall(r"^([a-z_]+(?:{.*})?) (\S+)$", text.decode(), re.MULTILINE)
    return {name: float(value) for name, value in samples}


async def test_connections_are_open_before_the_first_request(echo: Echo) -> None:
    (pool,) = echo.service.injector.host.pools
    assert pool.get_size() >= POOL_SIZE_MIN > 1


@pytest.fixture
def quick_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.postgres.pool.ROTATE_S", 0.05)


@pytest.mark.usefixtures("quick_rotation")
async def test_idle_connections_rotate_under_low_load(echo: Echo) -> None:
    (pool,) = echo.service.injector.host.pools
    used: set[int] = set()

    async def all_are_used() -> bool:
        used.add(await pool.fetchval("SELECT pg_backend_pid()"))
        return len(used) >= POOL_SIZE_MIN

    await wait_until_async(all_are_used, "a use of each connection")


async def test_requests_waiting_for_a_connection_and_their_wait_are_measured(echo: Echo) -> None:
    (pool,) = echo.service.injector.host.pools
    size = pool.get_max_size()
    before = await metrics(echo)
    held = [await pool.acquire() for _ in range(size)]
    waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(3)]
    await asyncio.sleep(0.3)  # the wait and the use that are measured
    full = await metrics(echo)
    assert full["db_pool_in_use"] == full["db_pool_size"] == full["db_pool_size_max"] == size
    assert full["db_pool_waiting"] == 3
    for connection in held:
        await pool.release(connection)
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    after = await metrics(echo)
    assert after["db_pool_waiting"] == after["db_pool_in_use"] == 0
    grown = {name: after[name] - before[name] for name in before if name in after}
    assert grown["db_pool_acquire_seconds_count"] == grown["db_pool_hold_seconds_count"] == size + 3
    assert grown["db_pool_acquire_seconds_sum"] >= 3 * 0.3 * 0.9
    assert grown["db_pool_hold_seconds_sum"] >= size * 0.3 * 0.9


async def test_the_state_of_the_policies_of_an_edge_is_read_at_each_scrape(echo: Echo) -> None:
    echo.service.client("users")
    seen = await metrics(echo)
    assert seen['resilience_in_flight{edge="echo->users",policy="bulkhead"}'] == 0
    assert seen['resilience_limit{edge="echo->users",policy="bulkhead"}'] > 0
    assert seen['retry_budget_tokens{edge="echo->users"}'] > 0
    assert seen['outlier_ejected{edge="echo->users"}'] == 0
    assert seen['registry_instances{callee="users"}'] == 0
    assert seen["broker_connected"] == 1
    assert abs(seen["clock_seconds"] - time.time()) < 5


async def test_a_skewed_clock_is_visible(echo: Echo) -> None:
    echo.service.clock.skews = (lambda: 3600.0,)
    assert 3595 < (await metrics(echo))["clock_seconds"] - time.time() < 3605
