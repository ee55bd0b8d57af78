"""Measures the shop in one lab: `python bench/shop.py [--seconds 60]` prints JSON.

up_s, down_s        `lab up` until everything is ready, `lab down` until every process has ended
memory_mb           PSS of every process of the lab, servers included, idle
orders              15 orders/s beside 60 browsing requests/s through nginx, response time from the intended start
product_read        one product on one connection through nginx, gateway and products, against products itself, in
                    alternating blocks; the ratio is of the medians
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT)]

from lab.archive import Run  # noqa: E402

BLOCKS, READS = 10, 100
PRODUCT = "/products/SKU-0007"


def lab(*words: str) -> dict[str, Any]:
    """The JSON of one `lab` command; exits if the command fails. An invalid load has its figures all the same."""
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'system'}:{ROOT}"}
    command = [sys.executable, "-m", "lab.cli", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 3 if words[0] == "load" else 0) or not done.stdout:
        sys.exit(f"`lab {' '.join(words)}` ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def timed(*words: str) -> float:
    started = time.perf_counter()
    lab(*words)
    return time.perf_counter() - started


def loop_ns() -> float:
    """The time of one turn of an empty Python loop, as a measure of this machine."""
    turns = range(2_000_000)
    started = time.perf_counter_ns()
    for _ in turns:
        pass
    return round((time.perf_counter_ns() - started) / len(turns), 1)


def orders(port_base: int, seconds: int) -> dict[str, Any]:
    """Errors and quantiles (ms, from the intended start) of the load `steady`, by route; warmed up."""
    lab("load", "steady", "--duration", "15", "--seed", "6", "--port-base", str(port_base))
    played = lab(
        "load", "steady", "--duration", str(seconds), "--seed", "7", "--port-base", str(port_base)
    )
    run = Run(Path(played["run"]))
    frame = run.frame("requests")
    frame["ms"] = (frame["end_s"] - frame["intended_start_s"]) * 1000
    return {
        str(route): {
            "requests": len(rows),
            "errors": int((rows["outcome"] != "ok").sum()),
            "p50_ms": round(float(rows["ms"].quantile(0.5)), 1),
            "p95_ms": round(float(rows["ms"].quantile(0.95)), 1),
            "p99_ms": round(float(rows["ms"].quantile(0.99)), 1),
        }
        for route, rows in frame.groupby("route")
    }


def read_ms(connection: http.client.HTTPConnection, path: str) -> float:
    started = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        sys.exit(f"GET {path} answered {response.status}")
    return (time.perf_counter() - started) * 1000


def product_read(port_base: int) -> dict[str, float]:
    whole = http.client.HTTPConnection("127.0.0.1", port_base)
    direct = http.client.HTTPConnection("127.0.0.1", port_base + 30)
    samples: dict[str, list[float]] = {"whole": [], "direct": []}
    for block in range(BLOCKS + 1):
        for name, connection, path in (
            ("whole", whole, f"/api{PRODUCT}"), ("direct", direct, PRODUCT),
        ):  # fmt: skip
            block_ms = [read_ms(connection, path) for _ in range(READS)]
            if block:  # the first block warms up
                samples[name] += block_ms
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "whole_p50_ms": round(medians["whole"], 3),
        "direct_p50_ms": round(medians["direct"], 3),
        "ratio": round(medians["whole"] / medians["direct"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="seconds of load (default 60)")
    parser.add_argument("--port-base", type=int, default=21080)
    options = parser.parse_args()
    base = ("--port-base", str(options.port_base))
    figures: dict[str, Any] = {"up_s": round(timed("up", *base), 2)}
    try:
        status = lab("status", *base)
        figures["memory_mb"] = round(sum(process["memory_mb"] for process in status["processes"]))
        figures["product_read"] = product_read(options.port_base)
        figures["orders"] = orders(options.port_base, options.seconds)
    finally:
        figures["down_s"] = round(timed("down", *base), 2)
    print(
        json.dumps(
            {"bench": "shop", "cpus": os.cpu_count(), "loop_ns": loop_ns(), **figures}, indent=2
        )
    )


if __name__ == "__main__":
    main()
