"""experiments/retry_storm.yaml in virtual time, with the policies of resilience.toml."""

import asyncio
import random
from statistics import fmean

import pytest

from chassis.edge_policies.configuration import policy_tables
from chassis.http.balancer import Balancer, CallCopies
from chassis.resilience import (
    Call,
    CallError,
    EdgePolicies,
    FakeClock,
    OutlierEjection,
    StaleFallback,
    build,
)

EDGE = "gateway->products"
PRODUCTS = ["products-1", "products-2"]
PAGES_PER_S, HANDLING_S, DEADLINE_S = 28.0, 0.05, 2.0  # rho = 28 x 0.05 / 2 = 0.7
STALL_FROM_S, STALL_S, UNTIL_S = 10.0, 2.5, 40.0
SKUS = 1000


class Storm:
    """Two gateways and two instances, which handle one page at a time, in order, and cancel no work."""

    def __init__(self, seed: int, profile: str) -> None:
        self.rng = random.Random(seed)
        self.full = profile == "full"
        self.clock = FakeClock()
        self.free_at = dict.fromkeys(PRODUCTS, 0.0)
        self.gateways = [self._gateway(profile) for _ in range(2)]
        self.fresh: list[
            tuple[float, bool]
        ] = []  # time of the request, whether a fresh answer came
        self.attempts = 0

    def _gateway(self, profile: str) -> tuple[Balancer, StaleFallback, EdgePolicies]:
        spec = policy_tables(EDGE)
        ejection = OutlierEjection(EDGE, **spec.pop("outlier"), clock=self.clock)
        stale = StaleFallback(**spec.pop("fallback"), clock=self.clock)
        chain = build(EDGE, {**spec, "profile": profile}, clock=self.clock, rng=self.rng)
        ejection.enabled = self.full
        return Balancer(ejection, self.rng), stale, chain

    async def handle(self, name: str) -> None:
        now = self.clock.monotonic()
        if STALL_FROM_S <= now < STALL_FROM_S + STALL_S:
            self.free_at[name] = max(self.free_at[name], STALL_FROM_S + STALL_S)
        self.free_at[name] = max(self.free_at[name], now) + HANDLING_S
        await self.clock.sleep(self.free_at[name] - now)

    async def shopper(self, at: float, sku: int) -> None:
        await self.clock.sleep(at)
        balancer, stale, chain = self.rng.choice(self.gateways)
        copies = CallCopies()

        async def attempt(_: Call) -> float:
            copy = balancer.begin(PRODUCTS, copies)
            self.attempts += 1
            began = self.clock.monotonic()
            try:
                await self.handle(copy.name)
            except asyncio.CancelledError:
                if self.clock.monotonic() - began >= 1.0:
                    balancer.failed(copy, 1.0)
                else:
                    balancer.cancelled(copy, copies)
                raise
            balancer.answered(copy, copies, self.clock.monotonic() - began)
            return self.clock.monotonic()

        async def protected(call: Call) -> float:
            return await chain.run(attempt, call)

        call = Call(EDGE, idempotent=True, key=str(sku), deadline=at + DEADLINE_S)
        try:
            answered = await (stale.run(protected, call) if self.full else protected(call))
            self.fresh.append((at, answered >= at))
        except CallError:
            self.fresh.append((at, False))

    def run(self) -> None:
        async def all_shoppers() -> None:
            at, shoppers = 0.0, []
            while (at := at + self.rng.expovariate(PAGES_PER_S)) < UNTIL_S:
                shoppers.append(self.shopper(at, self.rng.randrange(SKUS)))
            await asyncio.gather(*shoppers)

        self.clock.run(all_shoppers())

    def goodput(self, from_s: float, until_s: float) -> float:
        """The share of fresh pages among those requested in this interval."""
        return fmean(good for at, good in self.fresh if from_s <= at < until_s)


SEEDS = range(1, 9)
STALL_ENDS_S = STALL_FROM_S + STALL_S


@pytest.mark.parametrize("seed", SEEDS)
def test_with_retries_alone_the_shop_does_not_recover(seed: int) -> None:
    storm = Storm(seed, "retries")
    storm.run()
    assert storm.goodput(2.0, STALL_FROM_S - DEADLINE_S) > 0.99, (
        f"seed {seed}: not healthy before the stall"
    )
    late = storm.goodput(STALL_ENDS_S + 10.0, UNTIL_S)
    assert late < 0.1, f"seed {seed}: {late:.2f} of the pages came, it recovered"


@pytest.mark.parametrize("seed", SEEDS)
def test_with_all_policies_pages_are_fresh_within_ten_seconds(seed: int) -> None:
    storm = Storm(seed, "full")
    storm.run()
    late = storm.goodput(STALL_ENDS_S + 10.0, UNTIL_S)
    assert late > 0.99, f"seed {seed}: only {late:.2f} of the pages came"
