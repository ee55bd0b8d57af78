"""Measures the cost of the resilience policies per call in microseconds, and prints JSON.

    python bench/resilience.py [--rounds 15] [--calls 4000]

All times are CPU time of this process: nothing waits, and other processes do not count. Every subject
runs in each round, in shuffled order, so that the remaining noise is the same for all. The cost is the
median over rounds of (subject - bare call), the ratio to interlock the median of the ratios. The
benchmark of windows records into windows of growing size: the cost must not grow with the size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import interlock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from chassis.resilience import (
    Breaker,
    Bulkhead,
    Call,
    Event,
    Retry,
    RetryBudget,
    Timeout,
    build,
    compose,
)
from chassis.resilience.window import CountWindow, TimeWindow, Window

EDGE = "payments->bank"
CALL = Call(EDGE, idempotent=True)
SIZES = (10, 100, 1_000, 10_000, 100_000)
TARGET_US = 10.0

Subject = Callable[[], Awaitable[object]]


async def work(call: Call) -> int:
    return 1


def ignore(event: Event) -> None:
    pass


def subjects() -> dict[str, Subject]:
    breaker = Breaker(EDGE)
    with_listener = Breaker(EDGE, listener=ignore)
    timeout = Timeout(1.0)
    bulkhead = Bulkhead(EDGE, 25)
    three = compose(breaker, bulkhead, timeout)
    three_with_listener = compose(with_listener, bulkhead, timeout)
    full = build(EDGE, {})
    retry = Retry(3, budget=RetryBudget())
    theirs = interlock.CircuitBreaker(name=EDGE)

    async def asyncio_timeout() -> int:
        async with asyncio.timeout(1.0):
            return await work(CALL)

    return {
        "bare": lambda: work(CALL),
        "breaker": lambda: breaker.run(work, CALL),
        "breaker, with a listener": lambda: with_listener.run(work, CALL),
        "interlock": lambda: theirs.call_async(work, CALL),
        "timeout": lambda: timeout.run(work, CALL),
        "asyncio.timeout": asyncio_timeout,
        "asyncio.wait_for": lambda: asyncio.wait_for(work(CALL), 1.0),
        "bulkhead": lambda: bulkhead.run(work, CALL),
        "retry": lambda: retry.run(work, CALL),
        "breaker + bulkhead + timeout": lambda: three.run(work, CALL),
        "breaker + bulkhead + timeout, with a listener": lambda: three_with_listener.run(
            work, CALL
        ),
        "profile full, defaults": lambda: full.run(work, CALL),
    }


async def time_calls(rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds per call, by subject, one value per round."""
    contenders = subjects()
    order = list(contenders)
    rng = random.Random(1)
    figures: dict[str, list[float]] = {name: [] for name in order}
    for round_number in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            subject = contenders[name]
            started = time.process_time()
            for _ in range(calls):
                await subject()
            if round_number:  # the first round warms up
                figures[name].append((time.process_time() - started) / calls * 1e6)
    return figures


def time_windows(rounds: int, records: int = 20_000) -> dict[str, dict[str, float]]:
    """Nanoseconds per record in a full window, by kind and size."""
    makers: dict[str, Callable[[int], Window]] = {"count": CountWindow, "time": TimeWindow}
    result: dict[str, dict[str, float]] = {}
    outcomes = random.Random(1).choices(range(4), k=records)
    for kind, make in makers.items():
        windows = {size: make(size) for size in SIZES}
        costs: dict[int, list[float]] = {size: [] for size in SIZES}
        for size, window in windows.items():
            for i in range(size):
                window.record(i & 3, float(i))
        for round_number in range(rounds):
            for size, window in windows.items():
                now = float(size + round_number * records)
                started = time.process_time()
                for i, outcome in enumerate(outcomes):
                    window.record(outcome, now + i)  # each in a new second: the most expensive case
                costs[size].append((time.process_time() - started) / records * 1e9)
        result[kind] = {str(size): round(median(costs[size]), 1) for size in SIZES}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--calls", type=int, default=4000, help="calls per round and subject (default: %(default)s)"
    )
    arguments = parser.parse_args()
    figures = asyncio.run(time_calls(arguments.rounds, arguments.calls))
    bare = figures.pop("bare")
    overhead = {
        name: round(median(f - b for f, b in zip(runs, bare, strict=True)), 2)
        for name, runs in figures.items()
    }
    ratio = median(
        ours / theirs for ours, theirs in zip(figures["breaker"], figures["interlock"], strict=True)
    )
    three_us = overhead["breaker + bulkhead + timeout"]
    windows = time_windows(max(3, arguments.rounds // 3))
    growth = {kind: round(cost["100000"] / cost["10"], 2) for kind, cost in windows.items()}
    report = {
        "python": platform.python_version(),
        "rounds": arguments.rounds,
        "calls_per_round": arguments.calls,
        "bare_call_us": round(median(bare), 3),
        "overhead_us": overhead,
        "breaker_to_interlock_ratio": round(ratio, 3),
        "window_ns_per_record": windows,
        "window_growth_10_to_100000": growth,
        "targets": {
            "three_policies_us_max": TARGET_US,
            "three_policies_met": three_us <= TARGET_US,
            "interlock_ratio_max": 1.0,
            "interlock_ratio_met": ratio <= 1.0,
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
