"""Measures the fault proxy against its goals, and against a real Toxiproxy if there is one.

    python bench/proxy.py [--seconds 40] [--toxiproxy PATH]

Everything runs on loopback. The proxies alternate request by request, so that a busy machine slows
all of them. Toxiproxy is the program given by --toxiproxy, else `toxiproxy-server` on PATH. Prints
one JSON object; exits with code 1 if a goal is missed.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import select
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.proxy_rig import (  # noqa: E402
    PING,
    connect,
    fetch,
    nap_s,
    our_proxy,
    round_trip_s,
    toxiproxy,
    upstream,
)
from lab.proxy.client import ProxyClient  # noqa: E402

MB = 1_000_000
CHANCE = random.Random(1)
LATENCIES_MS = (10, 50, 100, 500)
CROWD_ROUNDS = 3


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--seconds", type=float, default=40, help="approximate duration of the measurement"
    )
    options.add_argument("--toxiproxy", default=shutil.which("toxiproxy-server"))
    options.add_argument("--kills", type=int, default=100, help="number of clients to kill")
    arguments = options.parse_args()
    with contextlib.ExitStack() as stack:
        result = measure(stack, arguments)
    print(json.dumps(result, indent=2))
    return 0 if all(goal["met"] for goal in result["goals"].values()) else 1


def measure(stack: contextlib.ExitStack, arguments: argparse.Namespace) -> dict[str, Any]:
    scale = arguments.seconds / 40
    echo, source = (stack.enter_context(upstream(kind)) for kind in ("echo", "source"))
    apis = {"ours": stack.enter_context(our_proxy())}
    if arguments.toxiproxy:
        apis["toxiproxy"] = stack.enter_context(toxiproxy(arguments.toxiproxy))
    clients = {who: ProxyClient(api) for who, api in apis.items()}
    for client in clients.values():
        client.populate(
            {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}"}
            for name, port in (("echo", echo), ("source", source))
        )
    ports = {who: client.list()["echo"].port for who, client in clients.items()}
    sources = {who: client.list()["source"].port for who, client in clients.items()}
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "sleep_late_ms": sleep_late_ms(int(400 * scale)),
        "pass_through_us": pass_through_us({"direct": echo, **ports}, int(6000 * scale)),
        "throughput_mb_s": throughput_mb_s({"direct": source, **sources}),
        "latency_error_ms": latency_error_ms(clients, ports, int(30 * scale)),
        "latency_error_100_connections_ms": crowd_error_ms(clients, ports, int(15 * scale)),
        "bandwidth_ratio": bandwidth_ratio(clients, sources),
        "api_to_effect_ms": api_to_effect_ms(clients, ports, int(150 * scale)),
        "orphans": orphans(apis["ours"], clients["ours"], arguments.kills),
    }
    result["goals"] = goals(result)
    return result


def goals(result: dict[str, Any]) -> dict[str, Any]:
    """Each goal with its measured value; comparisons only if a Toxiproxy ran."""
    checks: dict[str, Any] = {}

    def check(name: str, value: float, goal: float, at_least: bool = False) -> None:
        met = value >= goal if at_least else value <= goal
        checks[name] = {"value": round(value, 4), "goal": round(goal, 4), "met": met}

    overhead = result["pass_through_us"]["ours"]["overhead_one_way"]
    error, crowd = result["latency_error_ms"], result["latency_error_100_connections_ms"]
    check("pass_through_overhead_p50_us", overhead["p50"], 50)
    check("pass_through_overhead_p99_us", overhead["p99"], 150)
    check("throughput_mb_s", result["throughput_mb_s"]["ours"], 500, at_least=True)
    check("latency_error_p50_ms", error["ours"]["p50"], 0.3)
    sleep_p99_ms = error["sleep"]["p99"]
    check("latency_error_p99_ms", error["ours"]["p99"], max(3.0, sleep_p99_ms))
    check("never_early_ms", error["ours"]["least_late"], 0, at_least=True)
    check("latency_error_100_connections_p50_ms", crowd["ours"]["p50"], 1.5)
    check("latency_error_100_connections_p99_ms", crowd["ours"]["p99"], 5)
    for rate, ratio in result["bandwidth_ratio"]["ours"].items():
        check(f"bandwidth_error_{rate}", abs(ratio - 1), 0.05)
    check("api_to_effect_p99_ms", result["api_to_effect_ms"]["ours"]["p99"], 20)
    check("orphans", result["orphans"]["left"], 0)
    if "toxiproxy" in error:
        rivals = result["pass_through_us"]
        ratio = rivals["ours"]["p99"] / rivals["toxiproxy"]["p99"]
        check("pass_through_p99_to_toxiproxys", ratio, 1)
        ratio = error["ours"]["p99"] / error["toxiproxy"]["p99"]
        check("latency_error_p99_to_toxiproxys", ratio, 1)
        speeds = result["throughput_mb_s"]
        check("throughput_to_toxiproxys", speeds["ours"] / speeds["toxiproxy"], 0.5, at_least=True)
    return checks


def sleep_late_ms(count: int) -> dict[str, float]:
    """How late the machine wakes a sleeping process."""
    late = []
    for _ in range(count):
        late.append((nap_s(0.005) - 0.005) * 1e3)
    return quantiles(late)


def pass_through_us(ports: dict[str, int], count: int) -> dict[str, Any]:
    """Alternating round trips; each overhead is the difference to the direct trip of the same turn."""
    sockets = {who: connect(port) for who, port in ports.items()}
    took: dict[str, list[float]] = {who: [] for who in ports}
    for turn in range(count + 200):
        for who in shuffled(sockets):
            trip_us = round_trip_s(sockets[who]) * 1e6
            if turn >= 200:
                took[who].append(trip_us)
    result: dict[str, Any] = {}
    for who, trips in took.items():
        result[who] = quantiles(trips)
        if who != "direct":
            extra = [a - b for a, b in zip(trips, took["direct"], strict=True)]
            result[who]["overhead_round_trip"] = quantiles(extra)
            result[who]["overhead_one_way"] = quantiles([both / 2 for both in extra])
    return result


def throughput_mb_s(ports: dict[str, int]) -> dict[str, float]:
    """The best of three one-way transfers of 512 MB each, in alternation."""
    best = dict.fromkeys(ports, 0.0)
    for _ in range(3):
        for who, port in ports.items():
            started_s = time.perf_counter()
            fetch(port, 512 * MB)
            best[who] = max(best[who], 512 / (time.perf_counter() - started_s))
    return {who: round(speed, 1) for who, speed in best.items()}


def latency_error_ms(
    clients: dict[str, ProxyClient], ports: dict[str, int], count: int
) -> dict[str, dict[str, float]]:
    """The delay above the commanded one, minus the same proxy's round trip without a toxic.

    Sleeps of the same length alternate with the requests, for comparison.
    """
    sockets = {who: connect(port) for who, port in ports.items()}
    control_ms = {who: control_p50_ms(sock) for who, sock in sockets.items()}
    late: dict[str, list[float]] = {who: [] for who in [*ports, "sleep"]}
    for latency_ms in LATENCIES_MS:
        for client in clients.values():
            client.add("echo", "latency", {"latency": latency_ms}, name="late")
        for _ in range(count * 3 if latency_ms < 100 else max(count // 3, 5)):
            for who in shuffled(late):
                took_s = round_trip_s(sockets[who]) if who in sockets else nap_s(latency_ms / 1e3)
                late[who].append(took_s * 1e3 - latency_ms)
        for client in clients.values():
            client.remove("echo", "late")
    return {
        who: {
            **quantiles([value - control_ms.get(who, 0) for value in values]),
            "least_late": round(min(values), 4),  # without the control: early is early
        }
        for who, values in late.items()
    }


def control_p50_ms(sock: socket.socket) -> float:
    """The median round trip after an idle time, as round trips with latency have it."""
    trips_ms = []
    for _ in range(100):
        time.sleep(0.01)
        trips_ms.append(round_trip_s(sock) * 1e3)
    return quantiles(trips_ms)["p50"]


def crowd_error_ms(
    clients: dict[str, ProxyClient], ports: dict[str, int], rounds: int
) -> dict[str, dict[str, float]]:
    """The same error on 100 connections with 100 ms of latency.

    Each connection sends its next request at once after an answer; the first requests are spread over 100 ms.
    The proxies alternate after a few rounds, so that a busy moment of the machine hits all of them.
    """
    sockets = {who: [connect(ports[who]) for _ in range(100)] for who in clients}
    for group in sockets.values():
        crowd_ms(group, 1)  # until every upstream connection is open
    control = {who: quantiles(crowd_ms(sockets[who], 2, pause_s=0.1))["p50"] for who in clients}
    late: dict[str, list[float]] = {who: [] for who in clients}
    for _ in range(max(1, rounds // CROWD_ROUNDS)):
        for who in shuffled(clients):
            clients[who].add("echo", "latency", {"latency": 100}, name="late")
            trips_ms = crowd_ms(sockets[who], CROWD_ROUNDS)
            clients[who].remove("echo", "late")
            late[who] += [trip_ms - 100 - control[who] for trip_ms in trips_ms]
    for sock in (each for group in sockets.values() for each in group):
        sock.close()
    return {who: {**quantiles(late[who]), "control_p50": control[who]} for who in clients}


def crowd_ms(sockets: list[socket.socket], rounds: int, pause_s: float = 0.0) -> list[float]:
    """The round trips of all connections, in one thread; waits `pause_s` before each further request."""
    poll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in sockets}
    start_s = time.perf_counter()
    due = deque((start_s + n * 0.1 / len(sockets), fd) for n, fd in enumerate(by_fd))
    left = dict.fromkeys(by_fd, rounds)
    asked_s: dict[int, float] = {}
    took: list[float] = []
    for sock in sockets:
        poll.register(sock, select.EPOLLIN)
    while due or asked_s:
        now_s = time.perf_counter()
        while due and due[0][0] <= now_s:
            _, fd = due.popleft()
            asked_s[fd] = time.perf_counter()
            by_fd[fd].send(PING)
        wait_s = max(0.0, due[0][0] - time.perf_counter()) if due else None
        for fd, _ in poll.poll(wait_s):
            came_s = time.perf_counter()
            by_fd[fd].recv(4096)
            took.append((came_s - asked_s.pop(fd)) * 1e3)
            left[fd] -= 1
            if left[fd]:
                due.append((came_s + pause_s, fd))
    poll.close()
    return took


def bandwidth_ratio(
    clients: dict[str, ProxyClient], ports: dict[str, int]
) -> dict[str, dict[str, float]]:
    """The measured time for the bytes of one second, as a ratio to one second."""
    result: dict[str, dict[str, float]] = {}
    for who, client in clients.items():
        result[who] = {}
        for rate in (100, 1_000, 20_000):
            client.add("source", "bandwidth", {"rate": rate}, name="slow")
            started_s = time.perf_counter()
            fetch(ports[who], rate * 1000)
            result[who][f"{rate}_kb_s"] = round(time.perf_counter() - started_s, 4)
            client.remove("source", "slow")
    return result


def api_to_effect_ms(
    clients: dict[str, ProxyClient], ports: dict[str, int], count: int
) -> dict[str, dict[str, float]]:
    """The time from before the API call to the start of the first delayed request."""
    result = {}
    for who, client in clients.items():
        sock, took = connect(ports[who]), []
        for _ in range(count):
            started_s = time.perf_counter()
            client.add("echo", "latency", {"latency": 8}, name="late")
            while True:
                asked_s = time.perf_counter()
                if round_trip_s(sock) >= 0.008:
                    break
            took.append((asked_s - started_s) * 1e3)
            client.remove("echo", "late")
        result[who] = quantiles(took)
    return result


def orphans(api: str, client: ProxyClient, kills: int) -> dict[str, float]:
    """Kills clients that added a toxic with a TTL; counts the toxics left at TTL + 1 s."""
    ttl_s = 0.5
    for number in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            ProxyClient(api).add("echo", "noop", name=f"of {number}", ttl_s=ttl_s)
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    time.sleep(ttl_s + 1)
    records = [one["breakwater"] for one in client.removed() if one["name"].startswith("of ")]
    late = [record["removed_s"] - record["expires_s"] for record in records]
    return {
        "killed": kills,
        "left": len(client.list()["echo"].toxics),
        "removed_late_ms_max": round(max(late) * 1e3, 3),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 4)
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }


def shuffled(names: Iterable[str]) -> list[str]:
    """A random order: a fixed first one would always pay for waking the machine up."""
    order = list(names)
    CHANCE.shuffle(order)
    return order


if __name__ == "__main__":
    sys.exit(main())
