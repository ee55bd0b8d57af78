"""Measures in a running lab how fast waiting orders are caught up after the bank is well again; prints JSON.

    python bench/catch_up.py [--port-base 8080] [--orders 100] [--rate 4] [--calm 15]

The bank refuses every call until so many orders are pending. New orders arrive at a constant rate for some calm
seconds before, and again while the waiting ones are caught up.

final_s     from the bank's recovery until the waiting orders have ended (by saga_pending, within 0.1 to 0.6 s)
waited      how they ended: those that passed SAGA_DEADLINE_S were cancelled
before, during   new orders: count, those confirmed in their answer, p50 and p95 in ms, from the time at which each
            should have been sent
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.probe_customer import Customer, quantile
from lab.chaos.running_lab import find_lab

OUTAGE = {"kind": "abort", "attributes": {"status": 503}, "ttl_s": 60}
THREADS = 50
PENDING_BY_NEW_ORDERS = 2
FINAL_S_MAX = 40.0
POLL_S = 0.1


class Shop:
    """A running lab and its customer."""

    def __init__(self, port_base: int) -> None:
        lab = find_lab(port_base)
        self.customer = Customer(lab.ingress_url)
        self.faults = FaultClient(lab)
        self._threads = ThreadPoolExecutor(THREADS)

    def pending(self) -> float:
        """The sagas that have not ended, as the instances of orders count them."""
        instances = self.faults.targets("orders")
        return max(self.faults.metric(each, "saga_pending") or 0.0 for each in instances)

    def wait(self, orders: int) -> list[str]:
        """Let so many orders wait for the bank; returns their ids."""
        answers = self._threads.map(lambda _: self.customer.order(), range(orders))
        return [answer.body["id"] for answer in answers if answer.status == 202]

    def new_orders(self, rate: float, ended: Callable[[], bool]) -> dict[str, float]:
        """Send orders at a constant rate, each on time even if earlier ones are slow, until `ended`."""

        def order(due: float) -> tuple[float, bool]:
            confirmed = self.customer.order().status == 201
            return (time.perf_counter() - due) * 1000, confirmed

        started = time.perf_counter()
        sent: list[Future[tuple[float, bool]]] = []
        while not ended():
            due = started + len(sent) / rate
            time.sleep(min(POLL_S, max(0.0, due - time.perf_counter())))
            if time.perf_counter() >= due:
                sent.append(self._threads.submit(order, due))
        took = [each.result()[0] for each in sent]
        confirmed = sum(each.result()[1] for each in sent)
        percentiles = {f"p{p}": round(quantile(took, p / 100), 1) for p in (50, 95)}
        return {"count": len(took), "confirmed": confirmed, **percentiles}


def measure(shop: Shop, orders: int, rate: float, calm_s: float) -> dict[str, Any]:
    shop.customer.sign_in()
    calm_until = time.monotonic() + calm_s
    before = shop.new_orders(rate, lambda: time.monotonic() > calm_until)
    outage = shop.faults.add_fault("bank", OUTAGE)
    try:
        waiting = shop.wait(orders)
    finally:
        for fault in outage:
            shop.faults.remove(fault)
    well = time.monotonic()
    final_s = 0.0

    def caught_up() -> bool:
        nonlocal final_s
        final_s = time.monotonic() - well
        return shop.pending() <= PENDING_BY_NEW_ORDERS or final_s > FINAL_S_MAX

    during = shop.new_orders(rate, caught_up)
    ends = Counter(shop.customer.own_order(order).body["status"] for order in waiting)
    return {"final_s": round(final_s, 1), "waited": dict(ends), "before": before, "during": during}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port-base", type=int, default=8080)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--rate", type=float, default=4.0, help="new orders per second")
    parser.add_argument("--calm", type=float, default=15.0, help="seconds before the outage")
    options = parser.parse_args()
    if options.orders < 1 or options.rate <= 0:
        parser.error("expected one order or more, and a rate above 0")
    figures = measure(Shop(options.port_base), options.orders, options.rate, options.calm)
    facts = {"cpus": os.cpu_count(), "orders": options.orders, "rate_per_s": options.rate}
    print(json.dumps({"bench": "catch_up", **facts, **figures}, indent=2))


if __name__ == "__main__":
    main()
