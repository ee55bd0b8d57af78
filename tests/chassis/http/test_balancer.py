"""Load balancing: the instance with fewer calls, not one that was tried before or is ejected."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from chassis.edge_policies.configuration import policy_tables
from chassis.http.balancer import Balancer, CallCopies, CallCopy
from chassis.resilience import Call, Event, FakeClock, OutlierEjection, build

EDGE = "gateway->products"
TWO = ["products-1", "products-2"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def a_balancer(clock: FakeClock, seed: int = 1) -> tuple[Balancer, OutlierEjection]:
    ejection = OutlierEjection(EDGE, consecutive=1, clock=clock)
    return Balancer(ejection, random.Random(seed)), ejection


def test_of_two_instances_the_less_busy_one_is_called(clock: FakeClock) -> None:
    balancer, _ = a_balancer(clock)
    copies = [balancer.begin(TWO, CallCopies()) for _ in range(40)]
    assert [copy.name for copy in copies].count("products-1") == 20
    for copy in copies:
        if copy.name == "products-2":
            balancer.answered(copy, CallCopies(), 0.01)
    assert {balancer.begin(TWO, CallCopies()).name for _ in range(20)} == {"products-2"}


def test_a_second_copy_goes_to_another_instance_if_there_is_one(clock: FakeClock) -> None:
    balancer, _ = a_balancer(clock)
    for _ in range(50):
        copies = CallCopies()
        called = [balancer.begin(TWO, copies).name for _ in range(2)]
        assert sorted(called) == TWO
    copies = CallCopies()
    assert [balancer.begin(TWO[:1], copies).name for _ in range(2)] == ["products-1"] * 2


def test_an_ejected_instance_is_not_called_unless_ejection_is_off_for_the_call(
    clock: FakeClock,
) -> None:
    balancer, _ = a_balancer(clock)
    bad = balancer.begin(TWO, CallCopies())
    balancer.failed(bad, 0.01)
    assert bad.name not in {balancer.begin(TWO, CallCopies()).name for _ in range(20)}
    assert bad.name in {balancer.begin(TWO, CallCopies(), eject=False).name for _ in range(60)}


def test_a_cancelled_call_counts_against_its_instance_only_if_a_copy_was_answered(
    clock: FakeClock,
) -> None:
    balancer, ejection = a_balancer(clock)

    def hedged(quick_answers: bool) -> None:
        """products-1 is slow: the copy at products-2 is the faster one."""
        copies = CallCopies()
        by_name = {copy.name: copy for copy in (balancer.begin(TWO, copies) for _ in range(2))}
        if quick_answers:
            balancer.answered(by_name["products-2"], copies, 0.02)
        else:
            balancer.cancelled(by_name["products-2"], copies)
        balancer.cancelled(by_name["products-1"], copies)

    for _ in range(10):
        hedged(quick_answers=False)
    assert ejection.available(TWO) == TWO
    for _ in range(4):
        assert ejection.available(TWO) == TWO
        hedged(quick_answers=True)
    assert ejection.available(TWO) == ["products-2"]


class Shop:
    """Two products instances and the policies of one gateway by resilience.toml, in virtual time.

    An instance answers after `usual_s` on average (exponential). `products-2` is `late_s` later while
    the fault is active.
    """

    def __init__(self, seed: int, usual_s: float, late_s: float) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.usual_s, self.late_s = usual_s, late_s
        self.slow_from, self.slow_until = 10.0, 25.0
        spec = policy_tables(EDGE)
        settings = spec.pop("outlier")
        spec.pop("fallback")
        self.ejection = OutlierEjection(
            EDGE, **settings, clock=self.clock, listener=self.events.append
        )
        self.balancer = Balancer(self.ejection, self.rng)
        self.chain = build(EDGE, spec, clock=self.clock, rng=self.rng, listener=self.events.append)

    async def read(self) -> float:
        """The seconds until a page arrives."""
        copies, started = CallCopies(), self.clock.monotonic()

        async def attempt(_: Call) -> None:
            copy = self.balancer.begin(TWO, copies)
            began = self.clock.monotonic()
            try:
                await self.clock.sleep(self._answer_s(copy))
            except asyncio.CancelledError:
                if self.clock.monotonic() - began >= 1.0:
                    self.balancer.failed(copy, 1.0)
                else:
                    self.balancer.cancelled(copy, copies)
                raise
            self.balancer.answered(copy, copies, self.clock.monotonic() - began)

        await self.chain.run(attempt, Call(EDGE, idempotent=True))
        return self.clock.monotonic() - started

    def _answer_s(self, copy: CallCopy) -> float:
        on = self.slow_from <= self.clock.monotonic() < self.slow_until
        late = self.late_s if on and copy.name == "products-2" else 0.0
        return late + self.rng.expovariate(1 / self.usual_s)

    def arrivals(self, rate_per_s: float, until_s: float) -> Iterator[float]:
        at = 0.0
        while (at := at + self.rng.expovariate(rate_per_s)) < until_s:
            yield at

    def run(self, rate_per_s: float, until_s: float) -> list[float]:
        async def shopper(at: float) -> float:
            await self.clock.sleep(at)
            return await self.read()

        async def all_shoppers() -> list[float]:
            return list(
                await asyncio.gather(*map(shopper, list(self.arrivals(rate_per_s, until_s))))
            )

        return self.clock.run(all_shoppers())


@pytest.mark.parametrize("usual_s", [0.005, 0.02, 0.03])
@pytest.mark.parametrize("rate_per_s", [4, 9])
def test_no_page_waits_for_the_slow_one_of_two_instances(rate_per_s: float, usual_s: float) -> None:
    for seed in range(1, 11):
        shop = Shop(seed, usual_s, late_s=1.0)
        longest = max(shop.run(rate_per_s, until_s=50.0))
        outlier_events = [(event.kind, event.reason, round(event.at, 1)) for event in shop.events
                if event.policy == "outlier"]  # fmt: skip
        assert longest < 0.5, f"seed {seed}: a page took {longest:.2f} s; {outlier_events}"
        assert [kind for kind, _, _ in outlier_events][-1] == "readmission", (
            f"seed {seed}: {outlier_events}"
        )
        assert shop.ejection.available(TWO) == TWO, f"seed {seed}: {outlier_events}"
