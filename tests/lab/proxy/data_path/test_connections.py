"""Connections: ends, backpressure, many at once, repeatable random decisions."""

import contextlib
import random
import select
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.proxy.data_path import memory
from tests.fixtures.waiting import wait_until
from tests.lab.proxy.rig import (
    DEADLINE_S,
    SEED,
    EchoMany,
    ProxyProcess,
    Upstream,
    close_with_rst,
    connect,
    echo,
    is_reset_at_once,
    recv_exactly,
    recv_to_end,
    round_trip_s,
    running,
    was_reset,
)

pytestmark = pytest.mark.alone


def open_connections(lab: ProxyProcess) -> int:
    answer = lab.call("GET", "/proxies/edge")[1]
    return int(answer["breakwater"]["open_connections"])


def test_a_half_closed_client_still_gets_its_answer(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    server = idling.first()
    assert recv_to_end(server) == b"question"
    server.sendall(b"answer")
    server.close()
    assert recv_to_end(client) == b"answer"
    wait_until(lambda: open_connections(lab) == 0, "the connection to be gone")


def test_strict_closes_both_directions_when_one_ends(
    strict: ProxyProcess, idling: Upstream
) -> None:
    client = connect(strict.edge(idling))
    server = idling.first()
    client.shutdown(socket.SHUT_WR)
    assert recv_to_end(server) == b""
    assert recv_to_end(client) == b""


@pytest.mark.parametrize("from_client", [True, False])
def test_a_reset_stays_a_reset(lab: ProxyProcess, idling: Upstream, from_client: bool) -> None:
    client = connect(lab.edge(idling))
    server = idling.first()
    one, other = (client, server) if from_client else (server, client)
    close_with_rst(one)
    assert was_reset(other)


@pytest.mark.parametrize("toxic", [None, {"rate": 1000}, {"rate": 1}])
@pytest.mark.parametrize("from_client", [True, False])
def test_data_and_a_reset_that_arrive_together_are_both_seen(
    lab: ProxyProcess, idling: Upstream, from_client: bool, toxic: dict[str, int] | None
) -> None:
    client = connect(lab.edge(idling))
    server = idling.first()
    if toxic:
        for stream in ("upstream", "downstream"):
            lab.client.add("edge", "bandwidth", toxic, stream=stream)
    one, other = (client, server) if from_client else (server, client)
    lab.process.send_signal(signal.SIGSTOP)  # the proxy finds both in one event
    try:
        one.sendall(b"x" * 2000)
        close_with_rst(one)
    finally:
        lab.process.send_signal(signal.SIGCONT)
    assert was_reset(other)
    wait_until(lambda: open_connections(lab) == 0, "the connection to be gone")


def test_data_and_a_reset_in_a_closing_connection_free_its_socket(
    lab: ProxyProcess, idling: Upstream
) -> None:
    client = connect(lab.edge(idling))
    server = idling.first()
    lab.client.add("edge", "limit_data", {"bytes": 10}, stream="downstream")
    server.sendall(b"x" * 20)  # the connection is cut gently: the peers may still send
    assert recv_to_end(client) == b"x" * 10
    lab.process.send_signal(signal.SIGSTOP)
    try:
        for sock in (client, server):
            sock.sendall(b"late")
            close_with_rst(sock)
    finally:
        lab.process.send_signal(signal.SIGCONT)
    wait_until(lambda: open_connections(lab) == 0, "the connection to be gone")


def test_an_unreachable_upstream_is_a_reset_not_an_empty_answer(
    lab: ProxyProcess, strict: ProxyProcess
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()[1]
    assert is_reset_at_once(lab.edge(dead))
    assert not is_reset_at_once(strict.edge(dead))


@pytest.mark.parametrize("upstream", ["nonsense", "127.0.0.1:99999", "no.such.host.invalid:1"])
def test_an_invalid_upstream_affects_only_its_own_clients(
    lab: ProxyProcess, echoing: Upstream, upstream: str
) -> None:
    lab.edge(9, name="odd")
    _, answer = lab.call("PATCH", "/proxies/odd", {"upstream": upstream})
    assert is_reset_at_once(int(answer["listen"].rpartition(":")[2]))
    round_trip_s(connect(lab.edge(echoing)))


def test_a_slow_reader_slows_the_sender(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    server = idling.first()
    server.setblocking(False)
    block, sent, quiet_since_s = bytes(1 << 20), 0, time.monotonic()
    while time.monotonic() - quiet_since_s < 0.3 and sent < 256 << 20:
        try:
            sent += server.send(block)
            quiet_since_s = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)  # full; it may be read yet
    assert sent < 64 << 20, "the proxy accepted all data although the client does not read"
    server.setblocking(True)
    server.shutdown(socket.SHUT_WR)
    assert len(recv_to_end(client)) == sent


@pytest.mark.parametrize("type_name", ["latency", "bandwidth", "slicer", "reset_peer"])
def test_the_data_that_a_toxic_holds_is_bounded(
    lab: ProxyProcess, idling: Upstream, type_name: str
) -> None:
    client = connect(lab.edge(idling))
    attributes = {
        "latency": {"latency": 60_000},
        "bandwidth": {"rate": 0},
        "slicer": {"average_size": 10, "delay": 10_000_000},
        "reset_peer": {"timeout": 60_000},
    }[type_name]
    lab.client.add("edge", type_name, attributes, name="hold")
    server = idling.first()
    server.setblocking(False)
    block, sent, quiet_since_s = bytes(1 << 20), 0, time.monotonic()
    while time.monotonic() - quiet_since_s < 0.3 and sent < 256 << 20:
        try:
            sent += server.send(block)
            quiet_since_s = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)  # full; it may be read yet
    assert sent < 64 << 20
    server.setblocking(True)
    server.shutdown(socket.SHUT_WR)
    lab.client.remove("edge", "hold")  # must neither hang nor lose a byte
    assert len(recv_to_end(client)) == sent


def test_toxics_added_and_removed_under_traffic_change_no_byte(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    chance = random.Random(SEED)
    stop = threading.Event()

    def talk(number: int) -> int:
        payload = random.Random(SEED + number).randbytes(20_000)
        sock, trips = connect(port), 0
        while not stop.is_set():
            round_trip_s(sock, payload)  # checks every byte
            trips += 1
        sock.close()
        return trips

    menu = [
        ("latency", {"latency": 5, "jitter": 5}),
        ("bandwidth", {"rate": 2000}),
        ("slicer", {"average_size": 500, "size_variation": 200, "delay": 10}),
        ("slow_close", {"delay": 10}),
        ("noop", {}),
    ]
    with ThreadPoolExecutor(8) as pool:
        talks = [pool.submit(talk, number) for number in range(8)]
        try:
            for turn in range(60):
                type_name, attributes = chance.choice(menu)
                stream = chance.choice(["upstream", "downstream"])
                toxicity = chance.random()
                name = f"t{turn}"
                lab.client.add(
                    "edge", type_name, attributes, name=name, stream=stream, toxicity=toxicity
                )
                if chance.random() < 0.5:
                    lab.client.change("edge", name, toxicity=chance.random())
                if turn >= 2:
                    lab.client.remove("edge", f"t{turn - 2}")
            lab.client.reset()
        finally:
            stop.set()
        assert all(talk.result(timeout=15) > 0 for talk in talks), f"seed {SEED}"


def test_a_thousand_connections_at_once() -> None:
    many = EchoMany()
    with running() as server:
        port = server.edge(many.port)
        sockets = [connect(port) for _ in range(1000)]
        wait_until(lambda: open_connections(server) == 1000, "1,000 open connections")
        server.client.add("edge", "latency", {"latency": 50})
        started_s = time.monotonic()
        for number, sock in enumerate(sockets):
            sock.sendall(number.to_bytes(4, "big"))
        for number, sock in enumerate(sockets):
            assert recv_exactly(sock, 4) == number.to_bytes(4, "big")
        took_s = time.monotonic() - started_s
        record = server.record("latency_downstream")
        assert record["connections"] == record["affected"] == 1000
        for sock in sockets:
            sock.close()
        wait_until(lambda: open_connections(server) == 0, "all to be gone")
    many.close()
    assert took_s >= 0.050


def spared_pattern(server: ProxyProcess, upstream: Upstream, **options: Any) -> list[bool]:
    """For each of 24 connections in order: True if the toxic spared it."""
    port = server.edge(upstream)
    server.client.add("edge", "limit_data", {"bytes": 0}, toxicity=0.5, **options)
    pattern = []
    for _ in range(24):
        with connect(port) as sock:
            sock.sendall(b"x")
            pattern.append(sock.recv(1) == b"x")
    server.clear()
    return pattern


def test_the_same_seed_makes_the_same_decisions(lab: ProxyProcess, echoing: Upstream) -> None:
    first = spared_pattern(lab, echoing, seed=1)
    assert spared_pattern(lab, echoing, seed=1) == first
    assert spared_pattern(lab, echoing, seed=2) != first
    assert 3 <= sum(first) <= 21  # 99.9% of Bin(24, .5)


def test_the_servers_seed_decides_if_a_toxic_has_none(lab: ProxyProcess, echoing: Upstream) -> None:
    with running() as other:  # the rig gives both the same seed
        assert spared_pattern(other, echoing) == spared_pattern(lab, echoing)


def test_toxicity_is_drawn_once_per_connection_and_again_on_update(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    lab.client.add("edge", "latency", {"latency": 1}, toxicity=0.5, name="half")
    sockets = [connect(port) for _ in range(40)]
    for sock in sockets:
        round_trip_s(sock)
        round_trip_s(sock)
    before = lab.record("half")
    assert before["connections"] + before["spared"] == 40
    assert before["affected"] == before["connections"]
    assert before["hits"] == 2 * before["connections"]
    lab.client.change("edge", "half", toxicity=1)
    assert lab.record("half")["spared"] == 0
    lab.client.change("edge", "half", toxicity=0)
    assert lab.record("half")["spared"] == 40
    for sock in sockets:
        round_trip_s(sock)
    assert lab.record("half")["hits"] == before["hits"]


def test_all_connections_together_hold_a_bounded_number_of_bytes(
    lab: ProxyProcess, idling: Upstream
) -> None:
    port = lab.edge(idling)
    lab.client.add("edge", "latency", {"latency": 60_000}, stream="upstream")
    clients = [connect(port) for _ in range(20)]
    sent = 0
    for client in clients:
        client.setblocking(False)
    chunk = b"x" * (1 << 20)
    while True:  # until no client can send more for a while
        before = sent
        for client in clients:
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += client.send(chunk)
        if sent == before and not select.select([], clients, [], 0.5)[1]:
            break
    in_kernel = len(clients) * 8 * (1 << 20)  # socket buffers on both sides
    assert sent < memory.HELD_MAX + len(clients) * (1 << 20) + in_kernel
    assert lab.memory_bytes() < 64 * (1 << 20) + memory.HELD_MAX * 1.5
    for client in clients:
        client.close()


def test_a_new_connection_passes_while_others_hold_all_memory(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    lab.client.add("edge", "latency", {"latency": 60_000}, stream="upstream", name="slow")
    fillers = [connect(port) for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
    chunk = b"x" * (1 << 20)
    while select.select([], fillers, [], 0.5)[1]:
        for filler in fillers:
            with contextlib.suppress(BlockingIOError):
                filler.send(chunk)
    other = Upstream(echo)
    try:
        client = connect(lab.edge(other, name="other"))
        assert round_trip_s(client) < DEADLINE_S
    finally:
        other.close()
        for filler in fillers:
            filler.close()
