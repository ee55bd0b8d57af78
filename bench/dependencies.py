"""Response times of a caller while its dependency is slow or down, at profile full: prints JSON.

    python bench/dependencies.py [--rate 20] [--seconds 12] [--port-base 21480]

On a new lab, one caller instance at a time gets requests at a constant rate, each with a budget of 1 s (the
deadline from its own caller). Then its dependency is

delayed   a fault inside it delays every answer by 2 s
lost      all its instances are killed and not restarted

first      the answers until the breaker opened; once_open: later rejected ones; trials: the other later ones
limits     delayed: p99 of all within the budget (+ 50 ms for the answer's way), once open p99 <= 50 ms;
           lost: every first answer within 1 s, once open p99 <= 50 ms
"""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from chassis.http.auth import ServiceTokens  # noqa: E402
from lab.chaos.faults.client import FaultClient  # noqa: E402
from lab.chaos.running_lab import RunningLab, find_lab  # noqa: E402
from lab.runtimes.processes.runtime import ProcessesRuntime  # noqa: E402
from lab.runtimes.supervisor.client import call_supervisor  # noqa: E402

BUDGET_S = 1.0
ANSWER_S = 0.05
DELAY_MS = 2000
OPEN = "urn:breakwater:problem:breaker-open"
Make = Callable[[], tuple[str, str, dict[str, Any]]]


@dataclass(frozen=True)
class Subject:
    """One edge; `make()` returns a request to the caller: (method, path, request options)."""

    edge: str
    make: Make

    @property
    def caller(self) -> str:
        return self.edge.partition("->")[0]

    @property
    def callee(self) -> str:
        return self.edge.partition("->")[2]


@dataclass(frozen=True)
class Answer:
    sent_at: float
    seconds: float
    status: int
    rejected: bool


def subjects(lab: RunningLab) -> list[Subject]:
    numbers = count(1)
    token = ServiceTokens("orders", lab.state.service_secret).mint("payments")

    def page() -> tuple[str, str, dict[str, Any]]:
        # each product once: the gateway has a stale copy of pages that it has served before
        return "GET", f"/api/products/SKU-{next(numbers):04d}", {}

    def payment() -> tuple[str, str, dict[str, Any]]:
        body = {"order_id": str(uuid.uuid4()), "user_id": str(uuid.uuid4()), "amount_cents": 100}
        body |= {"currency": "EUR", "card_number": "4242424242424242"}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
        return "POST", "/payments", {"json": body, "headers": headers}

    return [Subject("payments->bank", payment), Subject("gateway->products", page)]


async def send(session: aiohttp.ClientSession, subject: Subject) -> Answer:
    method, path, options = subject.make()
    headers = {**options.pop("headers", {}), "Breakwater-Budget-Ms": str(int(BUDGET_S * 1000))}
    sent_at = time.perf_counter()
    async with session.request(method, path, headers=headers, **options) as response:
        body = await response.json()
    seconds = time.perf_counter() - sent_at
    kind = body.get("type", "") if isinstance(body, dict) else ""
    # payments has its own problem type for an unreachable bank
    rejected = kind == OPEN or (response.status == 503 and "bank-unavailable" in kind)
    return Answer(sent_at, seconds, response.status, rejected)


async def load(url: str, subject: Subject, rate: float, seconds: float) -> list[Answer]:
    """The answers at a constant rate; each request is sent when it is due, even if others are late."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(send(session, subject)))
        return sorted(await asyncio.gather(*tasks), key=lambda answer: answer.sent_at)


def quantiles(answers: list[Answer]) -> dict[str, Any]:
    """n, p50, p99 and max in ms; only n if there was no answer."""
    ranked = sorted(answer.seconds * 1000 for answer in answers)
    if not ranked:
        return {"n": 0}
    p99 = ranked[max(0, -(-99 * len(ranked) // 100) - 1)]
    p50 = ranked[(len(ranked) - 1) // 2]
    return {"n": len(ranked)} | {
        name: round(value, 1)
        for name, value in (("p50_ms", p50), ("p99_ms", p99), ("max_ms", ranked[-1]))
    }


def figures(scenario: str, answers: list[Answer], opened_at: float | None) -> dict[str, Any]:
    opened = float("inf") if opened_at is None else opened_at
    first = [each for each in answers if each.sent_at < opened]
    later = [each for each in answers if each.sent_at >= opened]
    once_open = [each for each in later if each.rejected]
    parts = {
        "all": quantiles(answers),
        "first": quantiles(first),
        "once_open": quantiles(once_open),
        "trials": quantiles([each for each in later if not each.rejected]),
    }
    fast = parts["once_open"].get("p99_ms", float("inf")) <= 50.0
    if scenario == "delayed":
        bound_ms = 1000 * (BUDGET_S + ANSWER_S)
        bounded = parts["all"]["p99_ms"] <= bound_ms
    else:
        bounded = parts["first"].get("max_ms", float("inf")) <= 1000.0
    opened_after = None if opened_at is None else round(opened_at - answers[0].sent_at, 2)
    return {"opened_after_s": opened_after, **parts, "bounded": bounded, "fast_once_open": fast}


async def opening(control: FaultClient, caller: Any, edge: str, until: float) -> float | None:
    """The time when the caller's breaker was first open; None if it was not."""
    while time.perf_counter() < until:
        value = await asyncio.to_thread(control.metric, caller, "breaker_state", edge=edge)
        if value == 2:
            return time.perf_counter()
        await asyncio.sleep(0.05)
    return None


@contextmanager
def delayed(control: FaultClient, subject: Subject, ttl_s: float) -> Iterator[None]:
    spec = {
        "kind": "latency",
        "attributes": {"latency_ms": DELAY_MS},
        "point": "inbound",
        "ttl_s": ttl_s,
    }
    control.add_fault(subject.callee, spec)
    try:
        yield
    finally:
        control.clear(subject.callee)


@contextmanager
def lost(control: FaultClient, subject: Subject, _ttl_s: float) -> Iterator[None]:
    lab = control.lab.state
    call_supervisor(
        lab, "POST", "/kill", {"target": subject.callee, "signal": "KILL", "restart": False}
    )
    try:
        yield
    finally:
        call_supervisor(lab, "POST", "/restart", {"target": subject.callee})


async def wait_healthy(url: str, subject: Subject) -> None:
    """Waits until ten requests in a row succeed: the breaker is closed and warm."""
    good = 0
    give_up = time.perf_counter() + 40
    async with aiohttp.ClientSession(url) as session:
        while good < 10:
            answer = await send(session, subject)
            good = good + 1 if answer.status < 300 else 0
            if time.perf_counter() > give_up:
                sys.exit(f"{subject.edge} does not work again: status {answer.status}")
            await asyncio.sleep(0.05)


async def measure(port_base: int, rate: float, seconds: float) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for subject in subjects(find_lab(port_base)):
        for scenario, disturbed in (("delayed", delayed), ("lost", lost)):
            control = FaultClient(find_lab(port_base))
            caller = control.targets(subject.caller)[0]
            await wait_healthy(caller.url, subject)
            with disturbed(control, subject, seconds + 10):
                until = time.perf_counter() + seconds
                answers, opened_at = await asyncio.gather(
                    load(caller.url, subject, rate, seconds),
                    opening(control, caller, subject.edge, until),
                )
            report.setdefault(subject.edge, {})[scenario] = figures(scenario, answers, opened_at)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second (default 20)")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="seconds of each fault (default 12)"
    )
    parser.add_argument("--port-base", type=int, default=21480)
    options = parser.parse_args()
    runtime = ProcessesRuntime(options.port_base)
    runtime.up()
    try:
        edges = asyncio.run(measure(options.port_base, options.rate, options.seconds))
    finally:
        runtime.down()
    met = all(
        each["bounded"] and each["fast_once_open"]
        for edge in edges.values()
        for each in edge.values()
    )
    facts = {"cpus": os.cpu_count(), "load_average": os.getloadavg()}
    budgets = {"rate_per_s": options.rate, "budget_s": BUDGET_S, "delay_ms": DELAY_MS}
    print(
        json.dumps(
            {"bench": "dependencies", **facts, **budgets, "edges": edges, "met": met}, indent=2
        )
    )


if __name__ == "__main__":
    main()
