"""Measures the fault proxy against its goals, and against a real Toxiproxy where there is one.

    python bench/proxy.py [--seconds 40] [--toxiproxy PATH]

Everything runs on loopback, the contenders taking turns request by request, so that a noisy
machine is noisy for all. A Toxiproxy is taken from --toxiproxy or, as `toxiproxy-server`, from
PATH. Prints one JSON object; exit 1 if a goal is missed.
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
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lab.proxy.client import ProxyClient, ProxyUnreachableError  # noqa: E402

PING = b"x" * 64
MB = 1_000_000
CHANCE = random.Random(1)
LATENCIES_MS = (10, 50, 100, 500)
CROWD_ROUNDS = 3


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=40, help="about how long to measure")
    options.add_argument("--toxiproxy", default=shutil.which("toxiproxy-server"))
    options.add_argument("--kills", type=int, default=100, help="controllers to kill")
    options.add_argument("--serve", choices=["echo", "source"], help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.serve:
        serve(arguments.serve)
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
    """Each goal with what came out; those that compare are there if a Toxiproxy ran."""
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
    """How late the machine itself wakes a sleeper."""
    late = []
    for _ in range(count):
        late.append((nap_s(0.005) - 0.005) * 1e3)
    return quantiles(late)


def pass_through_us(ports: dict[str, int], count: int) -> dict[str, Any]:
    """Round trips in turn; the overhead is paired with the direct trip of the same turn."""
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
    """The best of three one-way transfers of 512 MB each, in turn."""
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
    """How much later than commanded, less the same proxy's own round trip without a toxic.

    The machine's own sleeps of the same lengths take their turns too.
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
    """A round trip from idle, as those with latency are."""
    trips_ms = []
    for _ in range(100):
        time.sleep(0.01)
        trips_ms.append(round_trip_s(sock) * 1e3)
    return quantiles(trips_ms)["p50"]


def crowd_error_ms(
    clients: dict[str, ProxyClient], ports: dict[str, int], rounds: int
) -> dict[str, dict[str, float]]:
    """A hundred connections with 100 ms of latency, less the p50 of the same without it.

    Each asks again as soon as it is answered; they start spread over 100 ms. The proxies take turns of a
    few rounds, so that a busy moment of the machine is not one proxy's alone.
    """
    sockets = {who: [connect(ports[who]) for _ in range(100)] for who in clients}
    for group in sockets.values():
        crowd_ms(group, 1)  # until every one is connected behind the proxy too
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
    """Every connection's round trips, in one thread; pauses before each ask if told to."""
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
    """Time taken for one second's worth of bytes, to the time commanded."""
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
    """From before the API call to the start of the first request that was delayed."""
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
    """Controllers that set a fault with a TTL and are killed: what is left at TTL + 1 s?"""
    ttl_s = 0.5
    for number in range(kills):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            ProxyClient(api).add("echo", "noop", name=f"of {number}", ttl_s=ttl_s)
            os.write(tell, b"x")
            signal.pause()
        os.read(told, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
        os.close(tell)
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


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def round_trip_s(sock: socket.socket) -> float:
    started_s = time.perf_counter()
    sock.sendall(PING)
    sock.recv(4096)
    return time.perf_counter() - started_s


def nap_s(length_s: float) -> float:
    started_s = time.perf_counter()
    time.sleep(length_s)
    return time.perf_counter() - started_s


def shuffled(contenders: Iterable[str]) -> list[str]:
    """Whoever always came first would pay for waking the machine up."""
    order = list(contenders)
    CHANCE.shuffle(order)
    return order


def fetch(port: int, size: int) -> None:
    """Reads `size` bytes from the source; asks first, so that the clock covers them all."""
    buffer = memoryview(bytearray(1 << 20))
    with connect(port) as sock:
        sock.sendall(b"%d\n" % size)
        while size > 0:
            size -= sock.recv_into(buffer)


@contextlib.contextmanager
def child(*command: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def upstream(kind: str) -> Iterator[int]:
    with child(sys.executable, __file__, "--serve", kind) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextlib.contextmanager
def our_proxy() -> Iterator[str]:
    with child(sys.executable, "-m", "lab.proxy", "--port", "0", "--seed", "1") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["api"]


@contextlib.contextmanager
def toxiproxy(path: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # it logs every connection: a pipe that nobody reads would block it
    with child(path, "-host", "127.0.0.1", "-port", str(port), stdout=subprocess.DEVNULL):
        client = ProxyClient(f"127.0.0.1:{port}")
        wait_for(client.list)
        yield f"127.0.0.1:{port}"


def wait_for(call: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        try:
            call()
        except ProxyUnreachableError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


def serve(kind: str) -> None:
    """An upstream: echoes, or sends as many bytes as the first line asks for."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(server.getsockname()[1], flush=True)
    if kind == "echo":
        echo(server)
    while True:
        sock, _ = server.accept()
        threading.Thread(target=source, args=(sock,), daemon=True).start()


def echo(server: socket.socket) -> None:
    """All connections in one thread: a thread each would be measured with the proxy."""
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                sock, _ = server.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            data = b""
            with contextlib.suppress(OSError):
                data = sockets[fd].recv(65536)
            if data:
                sockets[fd].sendall(data)
            else:
                poll.unregister(fd)
                sockets.pop(fd).close()


def source(sock: socket.socket) -> None:
    block = memoryview(bytes(1 << 20))
    with sock, contextlib.suppress(OSError):
        size = int(sock.makefile("rb").readline())
        while size > 0:
            size -= sock.send(block[: min(size, len(block))])


if __name__ == "__main__":
    sys.exit(main())
