"""The cost of a fault proxy on every edge, and the faults that killed clients leave; prints JSON.

Two labs run at once, one of them proxied. Requests alternate between them, block by block, so that other work of
the machine affects both.

product_read   a product's page through nginx, one connection: ms in each lab, ratio of the medians
order          an order through all services, one at a time: the same
throughput     product pages on 16 busy connections, one second per turn: pages per second, best and median
kills          clients that die by SIGKILL right after their fault took effect, with a TTL of 0.5 s; in turn on
               edges (fault proxy), in services, on processes (supervisor): the faults active at TTL + 1 s,
               and the longest time that a fault outlived its TTL
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from lab.chaos.faults.client import FaultClient  # noqa: E402
from lab.chaos.probe_customer import Customer  # noqa: E402
from lab.chaos.running_lab import find_lab  # noqa: E402

PRODUCT = "/api/products/SKU-0007"
BLOCKS, READS, ORDERS = 12, 100, 15
CONNECTIONS, TURNS = 16, 8
TTL_S = 0.5
TURN_OF = (
    ("payments->bank", {"kind": "latency", "attributes": {"latency_ms": 5}}),
    ("products-1", {"kind": "latency", "attributes": {"latency_ms": 5}}),
    ("mail", {"kind": "pause"}),
)


@contextmanager
def labs(direct: int, proxied: int) -> Iterator[dict[str, int]]:
    """Starts both labs; yields their port bases by name."""
    bases = {"direct": direct, "proxied": proxied}
    try:
        for name, base in bases.items():
            words = ["up", "--port-base", str(base), *(["--proxied"] if name == "proxied" else [])]
            lab(*words)
        yield bases
    finally:
        for base in bases.values():
            lab("down", "--port-base", str(base))


def lab(*words: str) -> None:
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'system'}:{ROOT}"}
    command = [sys.executable, "-m", "lab.cli", *words]
    if subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"`lab {' '.join(words)}` failed")


def in_turn(actions: dict[str, Callable[[], float]], count: int) -> dict[str, Any]:
    """Milliseconds in each lab, and the ratio of the medians; the first block is a warm-up."""
    took: dict[str, list[float]] = {name: [] for name in actions}
    for block in range(BLOCKS + 1):
        # the order alternates: what one lab leaves behind must not always affect the same other
        for name in sorted(actions, reverse=bool(block % 2)):
            block_ms = [actions[name]() for _ in range(count)]
            took[name] += block_ms if block else []
    figures: dict[str, Any] = {name: quantiles(values) for name, values in took.items()}
    figures["ratio_p50"] = round(figures["proxied"]["p50"] / figures["direct"]["p50"], 3)
    return figures


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 3)
        for q in (50, 95, 99)
    }


def reader(base: int) -> Callable[[], float]:
    connection = http.client.HTTPConnection("127.0.0.1", base)

    def read_ms() -> float:
        started = time.perf_counter()
        connection.request("GET", PRODUCT)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            sys.exit(f"GET {PRODUCT} answered {response.status}")
        return (time.perf_counter() - started) * 1000

    return read_ms


def orderer(base: int) -> Callable[[], float]:
    customer = Customer(f"http://127.0.0.1:{base}")
    return lambda: customer.order("", "4242424242424242").seconds * 1000


def per_second(base: int) -> float:
    """Pages served in one second on all connections together."""
    served, end_s = [0] * CONNECTIONS, time.perf_counter() + 1

    def read(n: int) -> None:
        read_ms = reader(base)
        while time.perf_counter() < end_s:
            read_ms()
            served[n] += 1

    threads = [threading.Thread(target=read, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(sum(served))


def throughput(bases: dict[str, int]) -> dict[str, Any]:
    seen: dict[str, list[float]] = {name: [] for name in bases}
    for turn in range(TURNS + 1):
        for name in sorted(bases, reverse=bool(turn % 2)):
            rate = per_second(bases[name])
            seen[name] += [rate] if turn else []
    figures: dict[str, Any] = {
        name: {"best": max(rates), "median": statistics.median(rates)}
        for name, rates in seen.items()
    }
    figures["ratio_median"] = round(figures["proxied"]["median"] / figures["direct"]["median"], 3)
    return figures


def kills(base: int, count: int) -> dict[str, Any]:
    """Forks a child per kill; it kills itself as soon as its fault has taken effect."""
    control = FaultClient(find_lab(base))
    started_s = time.time()
    refused = 0
    for number in range(count):
        child = os.fork()
        if child == 0:
            command(control, number)
        _, status = os.waitpid(child, 0)
        refused += not os.WIFSIGNALED(status)
    ended_s = time.time()
    time.sleep(TTL_S + 1)
    left = [each.fault_id for each in control.faults()]
    gone = [each for each in control.history() if (each.commanded_s or 0) >= started_s]
    late_ms: dict[str, float] = {}
    for each in gone:
        if each.removed_s:
            by_ms = 1000 * (each.lasted_s - TTL_S)
            kind = f"{each.kind} at {each.point}"
            late_ms[kind] = round(max(by_ms, late_ms.get(kind, 0.0)), 1)
    return {
        "killed": count,
        "refused": refused,
        "seconds": round(ended_s - started_s, 1),
        "remembered": len(gone),  # each injector remembers its last 1,000
        "left": left,
        "outlived_ttl_ms_max": late_ms,
    }


def command(control: FaultClient, number: int) -> None:
    """Runs in the child; never returns."""
    target, spec = TURN_OF[number % len(TURN_OF)]
    try:
        if spec["kind"] == "pause":  # a process has one at a time: wait for the TTL of the last one
            give_up = time.monotonic() + 3 * TTL_S
            while control.faults(target) and time.monotonic() < give_up:
                time.sleep(0.01)
        control.add_fault(target, spec | {"ttl_s": TTL_S})
    except BaseException as error:
        print(f"{target}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--kills",
        type=int,
        default=60,
        help="number of kills: 1,000 for the goal; about 10 a second",
    )
    parser.add_argument("--only", choices=["cost", "kills"], help="measure only one part")
    parser.add_argument(
        "--port-base", type=int, default=21080, help="port base; the second lab uses 500 above it"
    )
    options = parser.parse_args()
    figures: dict[str, Any] = {"bench": "edges", "cpus": os.cpu_count(), "load": os.getloadavg()}
    with labs(options.port_base, options.port_base + 500) as bases:
        if options.only != "kills":
            figures["product_read_ms"] = in_turn({n: reader(b) for n, b in bases.items()}, READS)
            figures["order_ms"] = in_turn({n: orderer(b) for n, b in bases.items()}, ORDERS)
            figures["throughput_per_s"] = throughput(bases)
        if options.only != "cost":
            figures["kills"] = kills(bases["proxied"], options.kills)
    print(json.dumps(figures | {"load_after": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
