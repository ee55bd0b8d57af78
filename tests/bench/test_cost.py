"""bench/cost.py: whose CPU counts, which cause a stack has, and the ratio of two checkouts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cost import ratio
from bench.costs.causes import UNEXPLAINED, by_cause, cause_of
from bench.costs.counters import _statements
from bench.costs.meter import Meter
from lab.state import Entry, Lab

# uses 0.3 s of CPU in a child that has ended, then 0.3 s itself, and waits
FAMILY = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn])
began = time.process_time()
while time.process_time() < began + 0.3: pass
print("done", flush=True)
sys.stdin.read()
"""


def _lab(tmp_path: Path, pid: int) -> Lab:
    entry = Entry("orders-1", pid, "", service="orders")
    return Lab(
        port_base=1, home=str(tmp_path), topology="", started_s=time.time(), token="",
        service_secret="", settings={}, addresses={}, stores={}, instances=[entry],
    )  # fmt: skip


def test_the_cpu_of_a_process_has_that_of_its_ended_children(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        meter = Meter(_lab(tmp_path, process.pid))
        assert meter.cpu_ns()["orders"] >= 0.55e9
        assert meter.pss_mb() > 1
        process.communicate()


def test_other_processes_do_not_count(tmp_path: Path) -> None:
    assert set(Meter(_lab(tmp_path, os.getpid())).cpu_ns()) == {"orders"}


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (["serve (uvicorn/server.py:90)", "fetch (asyncpg/pool.py:5)", "write (libc.so.6)"], "statements"),
        (["serve (uvicorn/server.py:90)", "request (aiohttp/client.py:9)", "write (libc.so.6)"], "client hops"),
        (["place (shop/orders/app.py:9)", "dumps (json/__init__.py:9)"], "shop code"),
        (["serve (uvicorn/server.py:90)", "loop (libuv.so)"], UNEXPLAINED),
    ],
)  # fmt: skip
def test_a_stack_belongs_to_the_innermost_cause(frames: list[str], cause: str) -> None:
    assert cause_of(frames) == cause


def test_causes_add_up_to_the_cpu_of_the_processes() -> None:
    samples = {"orders": {"statements": 3, "server hops": 1}}
    found = by_cause({"orders": 8.0, "postgres": 2.0, "bank": 1.0}, samples)
    assert found == {"statements": 8.0, "server hops": 2.0, UNEXPLAINED: 1.0}


def test_a_statement_is_counted_once_with_the_time_of_its_phases() -> None:
    entry = "2026-11-28 15:00:00.000 UTC [12] orders@orders LOG:  duration: {} ms  {} s1: SELECT\n\t  1\n"
    (found,) = _statements(entry.format("0.25", "bind") + entry.format("0.5", "execute"))
    assert (found.database, found.text, found.calls, found.ms) == ("orders", "SELECT 1", 1, 0.75)


def test_the_ratio_has_an_interval_from_two_blocks_on() -> None:
    assert ratio([10.0], [30.0]) == (0.333, None)
    middle, interval = ratio([10.0, 11.0, 10.0], [30.0, 30.0, 32.0])
    assert interval is not None
    assert interval[0] < middle < interval[1]
    assert interval[1] < 0.5
