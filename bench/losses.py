"""Response times while a dependency of the shop is down, at profile full: prints JSON.

    python bench/losses.py [--rate 8] [--seconds 10] [--port-base 21480] [--only bank]

On a new lab, each journey runs at a constant rate: first without a fault, then with a dependency killed.

first     answers while the breakers may still be closed: until each of two gateways has sent the 10 calls that a
          breaker needs, plus one second. Limit: all within 1 s
then      all other answers. Limit: p99 at most 50 ms above the journey's p99 without the fault
answers   their number by status (-1: refused). Limit: only statuses that the journey promises then
quiet     the journey's p50 without the fault is below 500 ms; else the machine is too busy for a verdict
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from lab.chaos.probe_customer import Customer  # noqa: E402
from lab.http_client import NoReplyError, Reply, exchange  # noqa: E402
from lab.runtimes.processes.runtime import ProcessesRuntime  # noqa: E402
from lab.runtimes.supervisor.client import call_supervisor  # noqa: E402

FIRST_CALLS, FIRST_S = 20, 1.0
FIRST_MS, THEN_MS, QUIET_MS = 1000.0, 50.0, 500.0
CLOSED_AGAIN_S = 6.0  # the longest wait of an open breaker, plus one second


@dataclass(frozen=True)
class Journey:
    """A shopper's request, the dependency that is killed, and the promised status codes without it."""

    name: str
    gone: str
    go: Callable[[], Reply]
    promised: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    sent_s: float
    ms: float
    status: int


def journeys(ingress: str) -> list[Journey]:
    customer = Customer(ingress)
    order_id = str(customer.order().body["id"])
    wrong = {"email": "user499@example.com", "password": "wrong-horse-breakwater"}

    def page() -> Reply:
        return exchange("GET", f"{ingress}/api/products/SKU-0001", timeout_s=10)

    def log_in() -> Reply:
        return exchange("POST", f"{ingress}/api/login", body=wrong, timeout_s=10)

    return [
        Journey("product pages without Valkey", "valkey", customer.browse, (200,)),
        Journey("order details without notifications", "notifications",
                lambda: customer.own_order(order_id), (200,)),
        Journey("orders without notifications", "notifications", customer.order, (201,)),
        Journey("product pages without users", "users", customer.browse, (200,)),
        Journey("own orders without users", "users", customer.own_orders, (200,)),
        Journey("log-ins without users", "users", log_in, (503,)),
        Journey("a page seen before, without products", "products", page, (200,)),
        Journey("checkouts without the bank", "bank", customer.order, (202,)),
    ]  # fmt: skip


def walk(journey: Journey, rate: float, seconds: float) -> list[Answer]:
    """Runs the journey at a constant rate, each time when it is due, even if earlier answers are late."""
    began = time.perf_counter()

    def once(due_s: float) -> Answer:
        time.sleep(max(0.0, began + due_s - time.perf_counter()))
        try:
            status = journey.go().status
        except NoReplyError:
            status = 0
        except Exception as error:  # the customer's error for an improper answer
            status = getattr(error, "status", -1)
        return Answer(due_s, 1000 * (time.perf_counter() - began - due_s), status)

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(once, [n / rate for n in range(int(rate * seconds))]))


def quantiles(answers: list[Answer]) -> dict[str, Any]:
    """n, p50, p99 and max in ms; only n if there was no answer."""
    ranked = sorted(answer.ms for answer in answers)
    if not ranked:
        return {"n": 0}
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {"n": len(ranked)} | {
        name: round(ranked[max(0, -(-int(100 * q * len(ranked)) // 100) - 1)], 1)
        for name, q in at.items()
    }


def figures(
    journey: Journey, well: list[Answer], answers: list[Answer], rate: float
) -> dict[str, Any]:
    until_s = FIRST_CALLS / rate + FIRST_S
    first = [each for each in answers if each.sent_s < until_s]
    then = [each for each in answers if each.sent_s >= until_s]
    parts = {"well": quantiles(well), "first": quantiles(first), "then": quantiles(then)}
    statuses = Counter(each.status for each in answers)
    return {
        **parts,
        "quiet": parts["well"]["p50_ms"] < QUIET_MS,
        "answers": {str(status): n for status, n in sorted(statuses.items())},
        "as_promised": set(statuses) <= set(journey.promised),
        "first_within_1_s": parts["first"]["max_ms"] <= FIRST_MS,
        "then_within_50_ms_of_well": parts["then"]["p99_ms"] - parts["well"]["p99_ms"] <= THEN_MS,
    }


def measure(runtime: ProcessesRuntime, options: argparse.Namespace) -> dict[str, Any]:
    report = {}
    for journey in journeys(runtime.address("ingress")):
        if options.only and journey.gone != options.only:
            continue
        walk(journey, options.rate, 2.0)  # connections, caches
        well = walk(journey, options.rate, options.seconds)
        runtime.kill(journey.gone, restart=False)
        try:
            answers = walk(journey, options.rate, options.seconds)
        finally:
            call_supervisor(runtime.lab, "POST", "/restart", {"target": journey.gone})
        report[journey.name] = figures(journey, well, answers, options.rate)
        time.sleep(CLOSED_AGAIN_S)
        walk(journey, options.rate, 2.0)  # trial calls of the breakers
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=8.0, help="requests per second (default 8)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds of each part (default 10)"
    )
    parser.add_argument("--port-base", type=int, default=21480)
    parser.add_argument(
        "--only", default="", help="measure only the journeys without this dependency, e.g. bank"
    )
    options = parser.parse_args()
    runtime = ProcessesRuntime(options.port_base)
    runtime.up()
    try:
        losses = measure(runtime, options)
    finally:
        runtime.down()
    promises = ("quiet", "as_promised", "first_within_1_s", "then_within_50_ms_of_well")
    met = bool(losses) and all(each[name] for each in losses.values() for name in promises)
    facts = {"cpus": os.cpu_count(), "load_average": os.getloadavg(), "rate_per_s": options.rate}
    print(json.dumps({"bench": "losses", **facts, "losses": losses, "met": met}, indent=2))


if __name__ == "__main__":
    main()
