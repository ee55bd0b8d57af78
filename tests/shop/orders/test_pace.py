"""The pace of resuming: after new orders, as fast as steps succeed in their usual time, faster near a deadline."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from chassis.clock import SystemClock
from chassis.resilience.errors import CallFailedError
from shop.orders.domain import Line, Order
from shop.orders.pace import ONE_PERIOD_S, RUNNING_MAX, RUNNING_NEAR_DEADLINE, WINDOW_S, Pace
from shop.orders.runner import BACKLOG_PERIOD_S, RESUME_PERIOD_S, SagaRunner
from shop.orders.saga import Ended, Ports, Progress
from tests.fixtures.waiting import wait_until_async
from tests.shop.orders.fakes import FakeInventory, FakePayments

ORDER = Order("o1", "u1", "u@example.com", (Line("SKU-0001", 2, 500),), "4242424242424242")


class SetClock(SystemClock):
    """Advances by each sleep, which only yields to the other tasks."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class Steps:
    """Ends steps of the sagas that a pace allows."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.pace = Pace(self.clock)

    def end(
        self, windows: int, step_s: float, running: int | None = None, *, failed: bool = False
    ) -> int:
        """The bound after steps of `step_s` in so many windows; by default as many run as the bound allows."""
        for _ in range(windows):
            for _ in range(4):
                self.clock.now_s += WINDOW_S / 3
                at_once = self.pace.free(0) if running is None else running
                self.pace.sample(step_s, at_once, failed=failed)
        return self.pace.free(0)


def test_the_bound_grows_while_steps_take_their_usual_time() -> None:
    steps = Steps()
    grown = [steps.end(4, 0.03) for _ in range(8)]
    assert grown == sorted(grown)
    assert grown[-1] == RUNNING_MAX


def test_the_bound_shrinks_when_the_machine_is_at_its_limit() -> None:
    steps = Steps()
    assert steps.end(40, 0.03) == RUNNING_MAX
    assert steps.end(20, 0.12) <= 4
    assert steps.end(40, 0.03) == RUNNING_MAX


def test_steps_that_fail_leave_one_saga_at_a_time() -> None:
    steps = Steps()
    steps.end(40, 0.03)
    assert steps.end(5, 0.001, failed=True) == 1
    assert steps.pace.failing
    assert steps.end(1, 0.03) > 0
    assert not steps.pace.failing


def test_a_low_load_is_no_evidence_for_a_higher_bound() -> None:
    steps = Steps()
    steps.end(40, 0.03)
    steps.end(5, 0.001, failed=True)
    steps.end(10, 0.03, running=2)
    before = steps.pace.free(0)
    assert steps.end(10, 0.03, running=1) <= before + 1


def test_new_orders_come_first_but_every_saga_ends() -> None:
    clock = SetClock()
    pace = Pace(clock)
    assert pace.free(50) == 1, "a share under a constant load of new orders"
    assert pace.free(50) == 0
    clock.now_s += ONE_PERIOD_S
    assert pace.free(50) == 1


def test_it_is_faster_only_while_a_deadline_is_near() -> None:
    pace = Pace(SetClock())
    normal = pace.free(0)
    assert pace.free(1, near_deadline=True) == RUNNING_NEAR_DEADLINE - 1 > normal
    assert pace.free(0) == normal


@dataclass
class Backlog:
    """Sagas that wait for their last two steps, and end when they are run. `claims`: the limit of each claim."""

    waiting: list[str]
    ended: list[str] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)

    async def persist(self, progress: Progress, *, park_s: float | None = None) -> Progress | None:
        if park_s is not None:
            self.waiting.append(progress.order.id)
        return replace(progress, log=(), stored=True)

    async def finish(self, progress: Progress) -> Ended | None:
        self.ended.append(progress.order.id)
        return Ended(progress.order)

    async def claim(self, limit: int) -> list[tuple[str, str]]:
        self.claims.append(limit)
        claimed, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return [(order_id, "") for order_id in claimed]

    async def load(self, order_id: str) -> Progress | None:
        return Progress(replace(ORDER, id=order_id), at=2)

    async def count_pending(self, near_deadline_s: float) -> tuple[int, int, int]:
        return len(self.waiting), len(self.waiting), 0


class Captures(FakePayments):
    """Captures at most `capacity` payments at a time, the others wait; or fails."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.room = asyncio.Semaphore(capacity)
        self.at_once, self.peak, self.tries = 0, 0, 0
        self.down = False

    async def capture(self, order: Order) -> None:
        self.tries += 1
        if self.down:
            raise CallFailedError("down", definite=True)
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        async with self.room:
            await asyncio.sleep(0.002)
        self.at_once -= 1


class Commits(FakeInventory):
    async def commit(self, order: Order) -> None:
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("capacity", [2, 100])
async def test_a_backlog_is_caught_up_at_the_rate_of_the_services(capacity: int) -> None:
    store, payments = Backlog([f"o{number}" for number in range(400)]), Captures(capacity)
    runner = SagaRunner(store, Ports(Commits(), payments), SystemClock(), lambda *_, **__: None)
    resuming = asyncio.create_task(runner.resume())
    await wait_until_async(lambda: len(store.ended) == 400, "all sagas to end")
    resuming.cancel()
    assert sorted(store.ended) == sorted(f"o{number}" for number in range(400))
    if capacity > RUNNING_MAX:
        assert payments.peak > RUNNING_NEAR_DEADLINE / 2
    else:
        assert payments.peak < RUNNING_MAX


async def test_a_service_that_is_down_gets_one_try_a_turn() -> None:
    store, payments = Backlog([f"o{number}" for number in range(50)]), Captures(1)
    payments.down = True
    clock = SetClock()
    runner = SagaRunner(store, Ports(Commits(), payments), clock, lambda *_, **__: None)
    resuming = asyncio.create_task(runner.resume())
    await wait_until_async(lambda: payments.tries >= 30, "30 tries")
    resuming.cancel()
    assert store.claims[5:25] == [1] * 20
    assert clock.slept[5:25] == [RESUME_PERIOD_S] * 20 != [BACKLOG_PERIOD_S] * 20
    assert not store.ended


async def test_without_resuming_no_saga_is_claimed() -> None:
    store, clock = Backlog(["o1"]), SetClock()
    ports = Ports(FakeInventory(), FakePayments())
    runner = SagaRunner(store, ports, clock, lambda *_, **__: None, resumes=False)
    resuming = asyncio.create_task(runner.resume())
    await wait_until_async(lambda: len(clock.slept) > 5, "some turns")
    resuming.cancel()
    assert not store.claims
