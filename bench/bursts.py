"""Sends orders in bursts to a running lab (any runtime) and prints JSON, times in ms.

    python bench/bursts.py [--port-base 8080] [--orders 16] [--within 0.3] [--rounds 8] [--calm 5]

first        the first burst, after one log-in only
calm         before each later burst, this many seconds with one order every half second
later        the median of each figure over the later bursts
whole        from the start of a burst to its last answer; with `--within 0` all orders are sent at once
core_s       CPU seconds of the whole machine during one burst: the machine must be idle
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from lab.chaos.probe_customer import Customer, quantile
from lab.chaos.running_lab import find_lab

Figures = dict[str, float]


def cores_s() -> float:
    """CPU seconds that the machine has spent so far."""
    spent = psutil.cpu_times()
    return float(spent.user + spent.system)


def burst(customer: Customer, orders: int, within_s: float) -> Figures:
    """Send `orders` orders evenly within `within_s`; each is sent on time, even if earlier ones are slow."""

    def order(number: int) -> tuple[float, int]:
        due = started + number * within_s / orders
        time.sleep(max(0.0, due - time.perf_counter()))
        reply = customer.order()
        return (time.perf_counter() - due) * 1000, reply.status

    with ThreadPoolExecutor(orders) as pool:
        spent, started = cores_s(), time.perf_counter()
        answers = list(pool.map(order, range(orders)))
        whole_s = time.perf_counter() - started
    took = [ms for ms, _ in answers]
    return {
        "p50": quantile(took, 0.5),
        "last": max(took),
        "whole": whole_s * 1000,
        "core_s": cores_s() - spent,
        "confirmed": sum(status == 201 for _, status in answers),
    }


def calm(customer: Customer, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        customer.order()
        time.sleep(0.5)


def measure(customer: Customer, orders: int, within_s: float, rounds: int, calm_s: float) -> Any:
    customer.sign_in()
    first = burst(customer, orders, within_s)
    later: list[Figures] = []
    for _ in range(rounds - 1):
        calm(customer, calm_s)
        later.append(burst(customer, orders, within_s))
    medians = {name: statistics.median(each[name] for each in later) for name in first}
    return {"first": rounded(first), "later": rounded(medians), "bursts": list(map(rounded, later))}


def rounded(figures: Figures) -> Figures:
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port-base", type=int, default=8080)
    parser.add_argument("--orders", type=int, default=16)
    parser.add_argument("--within", type=float, default=0.3, help="seconds per burst")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calm", type=float, default=5.0, help="seconds between bursts")
    options = parser.parse_args()
    if options.rounds < 2 or options.orders < 1:
        parser.error("expected two rounds or more, of one order or more")
    customer = Customer(find_lab(options.port_base).ingress_url)
    figures = measure(customer, options.orders, options.within, options.rounds, options.calm)
    facts = {"cpus": os.cpu_count(), "orders": options.orders, "within_s": options.within}
    print(json.dumps({"bench": "bursts", **facts, **figures}, indent=2))


if __name__ == "__main__":
    main()
