"""The pace of resuming: slow, after new orders, and faster when a deadline is near."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

from chassis.clock import SystemClock
from shop.orders.domain import Line, Order
from shop.orders.runner import (
    RESUME_ONE_PERIOD_S,
    RUNNING_MAX,
    RUNNING_NEAR_DEADLINE_MAX,
    SagaRunner,
)
from shop.orders.saga import Ports, Progress
from tests.shop.orders.fakes import FakeInventory, FakePayments, FakeStore

ORDER = Order("o1", "u1", "u@example.com", (Line("SKU-0001", 2, 500),), "4242424242424242")


class TimeOverError(Exception):
    """The clock has no turns left."""


class FewTurns(SystemClock):
    """Each sleep returns at once and advances the clock by a second, for a number of turns."""

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        self._turns -= 1
        self._now_s += 1.0
        if not self._turns:
            raise TimeOverError


class Backlog(FakeStore):
    """Reports the sagas near their deadline turn by turn, and records the limits of the claims."""

    def __init__(self, near_deadline: Iterator[int]) -> None:
        super().__init__(Progress(ORDER))
        self._pressing = near_deadline
        self.limits: list[int] = []

    async def claim(self, limit: int) -> list[tuple[str, str]]:
        self.limits.append(limit)
        return []

    async def count_pending(self, near_deadline_s: float) -> tuple[int, int]:
        return 100, next(self._pressing)


async def claim_limits(
    near_deadline: Iterator[int], turns: int, *, running: int = 0, resumes: bool = True
) -> list[int]:
    store = Backlog(near_deadline)
    ports = Ports(FakeInventory(), FakePayments())
    runner = SagaRunner(store, ports, FewTurns(turns), lambda *_, **__: None, resumes=resumes)
    idle = asyncio.Event()
    tasks = [asyncio.create_task(_wait(idle)) for _ in range(running)]
    runner._running = {str(number): task for number, task in enumerate(tasks)}
    try:
        await runner.resume()
    except TimeOverError:
        return store.limits
    finally:
        idle.set()
        await asyncio.gather(*tasks)
    raise AssertionError("resume came back")


async def _wait(for_it: asyncio.Event) -> None:
    await for_it.wait()


async def test_it_resumes_more_only_while_a_deadline_is_near() -> None:
    near_deadline = iter([0, 0, 3, 1, 0])
    assert await claim_limits(near_deadline, 5) == [
        RUNNING_MAX, RUNNING_MAX, RUNNING_NEAR_DEADLINE_MAX, RUNNING_NEAR_DEADLINE_MAX, RUNNING_MAX,
    ]  # fmt: skip


async def test_running_orders_come_first_until_a_deadline_is_near() -> None:
    assert await claim_limits(repeat(0), 3, running=RUNNING_MAX) == [1]
    faster = await claim_limits(chain([0], repeat(1)), 3, running=RUNNING_MAX)
    assert faster == [1, *[RUNNING_NEAR_DEADLINE_MAX - RUNNING_MAX] * 2]


async def test_waiting_sagas_have_a_share_under_a_constant_load() -> None:
    turns = 4 * int(RESUME_ONE_PERIOD_S)  # of a second each
    assert await claim_limits(repeat(0), turns, running=50) == [1] * 4


async def test_without_resuming_no_saga_is_claimed() -> None:
    assert await claim_limits(repeat(1), 3, resumes=False) == []
