"""The cost of telemetry for the shop, and the effect of missing observers on it. Prints JSON.

    python bench/telemetry.py cost [--blocks 6] [--seconds 15]        orders/s and CPU per order, on against off
    python bench/telemetry.py blackout [--blocks 4] [--seconds 15]    observers running, dead, silent
    python bench/telemetry.py first                                   from `lab up` to the first trace, metric, log

cost      everything on (spans, metrics scraped, logs and event lines recorded; Prometheus with --prometheus)
          against OTEL_SDK_DISABLED=true with nothing recorded, in separate labs, on off off on ...;
          `workers` customers order one after the other. Ratios are of medians over blocks, with a 95 % bootstrap
          interval; CPU is the sum of all processes of the lab, so it is valid on a busy machine too. Counters and
          histograms count in both arms: 1 to 3 us each.
blackout  one lab, `rate` orders/s on schedule; the recorder and Prometheus (if it runs) are running, dead, or
          silent: stopped, so that they accept requests but never answer. Throughput and p99 against `running`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from lab.chaos.running_lab import RunningLab  # noqa: E402
from lab.prometheus_text import total  # noqa: E402
from lab.run.evidence.recorder_client import RecorderClient  # noqa: E402
from lab.runtimes.base import UpOptions  # noqa: E402
from lab.runtimes.processes.runtime import ProcessesRuntime  # noqa: E402

OFF = {"OTEL_SDK_DISABLED": "true", "OTLP_ENDPOINT": ""}
WARM_S = 4.0
LOGINS_MAX = 20
OBSERVERS = ("recorder", "prometheus")


class Customers:
    """Seeded users, logged in; each places orders of one item."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._tokens: list[str] = []
        self._skus = 0
        self.seconds: list[float] = []
        self.failed = 0

    async def log_in(self, count: int) -> None:
        for number in range(1, count + 1):
            who = {"email": f"user{number:03d}@example.com", "password": "correct-horse-breakwater"}
            self._tokens.append(await self._log_in(who))

    async def _log_in(self, who: dict[str, str]) -> str:
        """Returns a token; retries on a busy machine, because the login is not measured."""
        for _ in range(LOGINS_MAX):
            async with self._http.post(f"{self._url}/api/login", json=who) as answer:
                if answer.status == 200:
                    return str((await answer.json())["access_token"])
            await asyncio.sleep(1)
        sys.exit(f"{who['email']} could not log in {LOGINS_MAX} times: is the machine too busy?")

    async def order(self, customer: int, due: float) -> None:
        """Places one order; its time counts from `due` (on the event loop's clock)."""
        self._skus += 1
        sku = f"SKU-{1 + self._skus % 1000:04d}"
        body = {
            "lines": [{"sku": sku, "quantity": 1}],
            "payment": {"card_number": "4242424242424242"},
        }
        headers = {
            "Authorization": f"Bearer {self._tokens[customer % len(self._tokens)]}",
            "Idempotency-Key": secrets.token_hex(8),
        }
        loop = asyncio.get_running_loop()
        url = f"{self._url}/api/orders"
        async with self._http.post(url, json=body, headers=headers) as answer:
            await answer.read()
        self.failed += answer.status != 201
        self.seconds.append(loop.time() - due)


async def closed(url: str, seconds: float, workers: int) -> dict[str, Any]:
    """Each worker places orders one after the other; the figures cover the time after the warm-up."""
    async with aiohttp.ClientSession() as http:
        customers = Customers(url, http)
        await customers.log_in(workers)
        loop = asyncio.get_running_loop()
        end = loop.time() + WARM_S + seconds

        async def work(number: int) -> None:
            while loop.time() < end:
                await customers.order(number, loop.time())

        working = [asyncio.create_task(work(number)) for number in range(workers)]
        await asyncio.sleep(WARM_S)
        before, began = len(customers.seconds), time.monotonic()
        cpu = cpu_s()
        await asyncio.gather(*working)
        took, orders = time.monotonic() - began, len(customers.seconds) - before
        return {
            "orders_per_s": orders / took,
            "cpu_ms_per_order": (cpu_s() - cpu) / orders * 1000,
            "failed": customers.failed,
        }


async def paced(url: str, seconds: float, rate: float) -> dict[str, Any]:
    """Places orders on a fixed schedule, whether or not earlier ones have finished."""
    async with aiohttp.ClientSession() as http:
        customers = Customers(url, http)
        await customers.log_in(8)
        loop = asyncio.get_running_loop()
        began, cpu = loop.time(), cpu_s()
        placing = []
        for number in range(int(seconds * rate)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            placing.append(asyncio.create_task(customers.order(number, due)))
        await asyncio.gather(*placing)
        return {
            "orders_per_s": len(placing) / (loop.time() - began),
            "cpu_ms_per_order": (cpu_s() - cpu) / len(placing) * 1000,
            "failed": customers.failed,
            "seconds": customers.seconds,
        }


_watched: list[psutil.Process] = []


def watch(runtime: ProcessesRuntime) -> None:
    """Selects the processes whose CPU counts: all of the lab, with the servers' workers."""
    supervisor = next(each.pid for each in runtime.lab.servers if each.name == "supervisor")
    _watched[:] = [psutil.Process(supervisor)]
    _watched.extend(_watched[0].children(recursive=True))


def cpu_s() -> float:
    used_s = 0.0
    for process in _watched:
        try:
            times = process.cpu_times()
            used_s += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return used_s


def up(port_base: int, on: bool, prometheus: bool) -> ProcessesRuntime:
    runtime = ProcessesRuntime(port_base)
    observers = ["prometheus"] if on and prometheus else []
    runtime.up(UpOptions({} if on else OFF, fresh=True, observers=observers))
    watch(runtime)
    return runtime


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    """Median of `a` divided by median of `b`, with a bootstrap interval over blocks."""
    rng = np.random.default_rng(1)
    resampled = [
        np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b))) for _ in range(4000)
    ]
    low, high = np.quantile(resampled, (0.025, 0.975))
    value = float(np.median(a) / np.median(b))
    return {"value": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def cost(options: argparse.Namespace) -> dict[str, Any]:
    arms = [(True, False, False, True)[n % 4] for n in range(2 * options.blocks)]
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for on in arms:
        runtime = up(options.port_base, on, options.prometheus)
        try:
            with tempfile.TemporaryDirectory() as folder:
                recording = RecorderClient(RunningLab(runtime.lab))
                if on:
                    recording.start(Path(folder))
                block = asyncio.run(
                    closed(runtime.address("ingress"), options.seconds, options.workers)
                )
                if on:
                    block["rows"] = recording.stop().get("rows")
        finally:
            runtime.down()
        found[on].append(block)
        report({"on": on, **block})
    speed = {on: [each["orders_per_s"] for each in found[on]] for on in found}
    cpu = {on: [each["cpu_ms_per_order"] for each in found[on]] for on in found}
    return {
        "orders_per_s": {"on": median(speed[True]), "off": median(speed[False])},
        "cpu_ms_per_order": {"on": median(cpu[True]), "off": median(cpu[False])},
        "throughput_ratio": ratio(speed[True], speed[False]),
        "cpu_ratio": ratio(cpu[False], cpu[True]),
        "goal": 0.8,
        "failed": sum(each["failed"] for arm in found.values() for each in arm),
    }


def blackout(options: argparse.Namespace) -> dict[str, Any]:
    runtime = up(options.port_base, True, options.prometheus)
    watched = [name for name in OBSERVERS if name in runtime.lab.addresses]
    ways: dict[str, tuple[Callable[[str], Any], Callable[[str], Any]]] = {
        "running": (lambda name: None, lambda name: None),
        "dead": (lambda name: runtime.kill(name, "KILL", restart=False), lambda name: runtime.up()),
        "silent": (
            lambda name: runtime.kill(name, "STOP"),
            lambda name: runtime.kill(name, "CONT"),
        ),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    rng = random.Random(options.seed)
    try:
        url = runtime.address("ingress")
        asyncio.run(paced(url, WARM_S, options.rate))
        for _ in range(options.blocks):
            for way in rng.sample(list(ways), len(ways)):
                begin, end = ways[way]
                for name in watched:
                    begin(name)
                watch(runtime)
                block = asyncio.run(paced(url, options.seconds, options.rate))
                for name in watched:
                    end(name)
                found[way].append(block)
                report({"way": way, **{k: v for k, v in block.items() if k != "seconds"}})
                time.sleep(1.5)  # queued signals are sent now, not in the next block
    finally:
        runtime.down()
    return {"observers": watched, **{way: summary(blocks) for way, blocks in found.items()}} | {
        f"{way} / running": {
            "orders_per_s": ratio(speeds(found[way]), speeds(found["running"])),
            "p99": ratio(p99s(found[way]), p99s(found["running"])),
        }
        for way in ("dead", "silent")
    }


def speeds(blocks: list[dict[str, Any]]) -> list[float]:
    return [each["orders_per_s"] for each in blocks]


def p99s(blocks: list[dict[str, Any]]) -> list[float]:
    return [float(np.quantile(each["seconds"], 0.99)) for each in blocks]


def summary(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "orders_per_s": round(median(speeds(blocks)), 2),
        "p99_ms_by_block": [round(each * 1000) for each in p99s(blocks)],
        "cpu_ms_per_order": round(median([each["cpu_ms_per_order"] for each in blocks]), 1),
        "failed": sum(each["failed"] for each in blocks),
    }


def first(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the start of `lab up` to the first log line, metric (instance, Prometheus) and trace."""
    began = time.monotonic()
    seen: dict[str, float] = {}
    runtime = ProcessesRuntime(options.port_base)
    runtime.up(UpOptions({}, fresh=True, observers=["prometheus"] if options.prometheus else []))
    seen["up_s"] = time.monotonic() - began
    try:
        lab = runtime.lab
        signs: dict[str, Callable[[], Any]] = {
            "log_s": lambda: next(runtime.logs("orders-1", last=1), None),
            "metric_s": lambda: "target_info" in text(runtime.address("orders-1") + "/metrics"),
            "trace_s": lambda: exported(text(runtime.address("gateway-1") + "/metrics")),
        }
        if "prometheus" in lab.addresses:
            query = lab.addresses["prometheus"] + "/api/v1/query?query=target_info"
            signs["prometheus_s"] = lambda: '"orders-1"' in text(query)
        while signs and time.monotonic() - began < 60:
            text(lab.addresses["ingress"] + "/api/products/SKU-0001")
            for name, is_there in list(signs.items()):
                if is_there():
                    seen[name] = time.monotonic() - began
                    del signs[name]
            time.sleep(0.05)
    finally:
        runtime.down()
    goals = {"log_s": 5, "trace_s": 15, "metric_s": 15}
    return {**{name: round(value, 2) for name, value in seen.items()}, "goals": goals}


def exported(metrics: str) -> bool:
    return (total(metrics, "telemetry_spans_total", result="exported") or 0) > 0


def text(url: str) -> str:
    """The content of a URL, "" after a failure."""
    done = subprocess.run(["curl", "-sf", "-m", "2", url], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def median(values: list[float]) -> float:
    return round(float(np.median(values)), 2)


def report(block: dict[str, Any]) -> None:
    print(json.dumps(block, default=str), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("cost", "blackout", "first"))
    parser.add_argument("--blocks", type=int, default=6, help="blocks per arm")
    parser.add_argument("--seconds", type=float, default=15, help="length of a block")
    parser.add_argument("--workers", type=int, default=8, help="concurrent customers (cost)")
    parser.add_argument("--rate", type=float, default=5, help="orders/s (blackout)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the order of blocks (blackout)"
    )
    parser.add_argument("--prometheus", action="store_true", help="run Prometheus too")
    parser.add_argument("--port-base", type=int, default=21480)
    options = parser.parse_args()
    figures = {"cost": cost, "blackout": blackout, "first": first}[options.what](options)
    head = {
        "bench": f"telemetry {options.what}",
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps({**head, **figures}, indent=2))


if __name__ == "__main__":
    main()
