"""Each toxic's effect, measured from outside: bytes, ends and times at real sockets."""

import contextlib
import random
import socket
import threading
import time

import pytest

from lab.prometheus_text import total
from tests.fixtures.waiting import wait_until
from tests.lab.proxy.rig import (
    SEED,
    ProxyProcess,
    Upstream,
    connect,
    is_refused,
    is_silent,
    recv_exactly,
    recv_to_end,
    round_trip_s,
    was_reset,
)

pytestmark = pytest.mark.alone

PAYLOAD = random.Random(SEED).randbytes(1 << 20)


def echoed(sock: socket.socket, data: bytes) -> bytes:
    """Sends and receives at the same time, so that no full buffer can block."""
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    got = recv_exactly(sock, len(data))
    sender.join()
    return got


@pytest.mark.parametrize("strict_too", ["lab", "strict"])
def test_noop_changes_nothing(
    strict_too: str, request: pytest.FixtureRequest, echoing: Upstream
) -> None:
    server: ProxyProcess = request.getfixturevalue(strict_too)
    port = server.edge(echoing)
    for stream in ("upstream", "downstream"):
        server.client.add("edge", "noop", stream=stream)
    assert echoed(connect(port), PAYLOAD) == PAYLOAD


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_is_never_early_and_at_most_a_little_late(
    lab: ProxyProcess, echoing: Upstream, stream: str
) -> None:
    sock = connect(lab.edge(echoing))
    control_s = sorted(round_trip_s(sock) for _ in range(20))
    lab.client.add("edge", "latency", {"latency": 20}, stream=stream)

    def is_hardly_late() -> bool:
        delayed_s = sorted(round_trip_s(sock) for _ in range(20))
        assert delayed_s[0] >= 0.020
        return delayed_s[10] - control_s[10] < 0.030

    wait_until(is_hardly_late, "twenty round trips whose median is less than 10 ms late")


def test_latencies_add_up(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "latency", {"latency": 20}, name="one")
    lab.client.add("edge", "latency", {"latency": 30}, name="two")
    lab.client.add("edge", "latency", {"latency": 40}, stream="upstream")

    def is_delayed_by_each_once() -> bool:
        took_s = round_trip_s(sock)
        assert took_s >= 0.090
        return took_s < 0.120

    wait_until(is_delayed_by_each_once, "a round trip with each latency once")


def test_latency_is_pipelined_not_serialised(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "latency", {"latency": 200})
    server = idling.first()
    sent_s: list[float] = []
    lag_s: list[float] = []
    for number in range(10):  # ten chunks, 10 ms apart: 300 ms in all, not 2 s
        sent_s.append(time.monotonic())
        server.sendall(bytes([number]))
        time.sleep(0.01)  # the distance between chunks
    for number in range(10):
        assert recv_exactly(client, 1) == bytes([number])
        lag_s.append(time.monotonic() - sent_s[number])
    assert min(lag_s) >= 0.200
    assert max(lag_s) < 10 * 0.200, "as long as one latency after the other"


def test_jitter_stays_in_its_range_and_varies(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "latency", {"latency": 15, "jitter": 10})
    took_s = [round_trip_s(sock) for _ in range(40)]
    assert min(took_s) >= 0.005
    assert max(took_s) - min(took_s) > 0.005


def test_removed_latency_sends_its_data_at_once(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "latency", {"latency": 60_000}, name="slow")
    sock.sendall(b"held")
    wait_until(lambda: lab.record("slow")["hits"], "the echo to be held")
    lab.client.remove("edge", "slow")
    assert recv_exactly(sock, 4) == b"held"  # within the socket's timeout of 15 s, not after 60 s


def test_a_shorter_latency_applies_to_waiting_data(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "latency", {"latency": 60_000}, name="slow")
    sock.sendall(b"held")
    wait_until(lambda: lab.record("slow")["hits"], "the echo to be held")
    lab.client.change("edge", "slow", attributes={"latency": 1})
    assert recv_exactly(sock, 4) == b"held"


def test_bandwidth_is_within_five_percent(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "bandwidth", {"rate": 1000})
    server = idling.first()
    expected_s = len(PAYLOAD) / 1_000_000

    def is_within_five_percent() -> bool:
        started_s = time.monotonic()
        threading.Thread(target=server.sendall, args=(PAYLOAD,), daemon=True).start()
        assert recv_exactly(client, len(PAYLOAD)) == PAYLOAD
        took_s = time.monotonic() - started_s
        assert took_s >= expected_s
        return took_s < expected_s * 1.05

    wait_until(is_within_five_percent, "a transfer within five percent", 30)


def test_bandwidth_zero_passes_nothing_until_it_is_raised(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "bandwidth", {"rate": 0}, name="shut")
    sock.sendall(b"held")
    assert is_silent(sock, 0.1)
    lab.client.change("edge", "shut", attributes={"rate": 1000})
    assert recv_exactly(sock, 4) == b"held"


def test_removed_bandwidth_loses_no_byte(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "bandwidth", {"rate": 10}, name="slow")
    server = idling.first()
    threading.Thread(target=server.sendall, args=(PAYLOAD,), daemon=True).start()
    assert recv_exactly(client, 1000) == PAYLOAD[:1000]
    lab.client.remove("edge", "slow")
    assert recv_exactly(client, len(PAYLOAD) - 1000) == PAYLOAD[1000:]


def test_slow_close_delays_the_end_but_not_the_data(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "slow_close", {"delay": 300})
    server = idling.first()
    started_s = time.monotonic()
    server.sendall(b"data")
    server.shutdown(socket.SHUT_WR)
    assert recv_exactly(client, 4) == b"data"
    data_s = time.monotonic() - started_s
    assert recv_to_end(client) == b""
    end_s = time.monotonic() - started_s
    assert end_s >= 0.300
    assert data_s < end_s - 0.100


def test_removed_slow_close_closes_at_once(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "slow_close", {"delay": 60_000}, name="slow")
    idling.first().shutdown(socket.SHUT_WR)
    wait_until(lambda: lab.record("slow")["hits"], "the close to be held")
    lab.client.remove("edge", "slow")
    assert recv_to_end(client) == b""


def test_timeout_discards_and_closes_after_its_time(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    round_trip_s(sock)
    started_s = time.monotonic()
    lab.client.add("edge", "timeout", {"timeout": 200})
    sock.sendall(b"lost")
    assert recv_to_end(sock) == b""
    assert time.monotonic() - started_s >= 0.200


def test_timeout_counts_from_its_start_despite_traffic(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "timeout", {"timeout": 200})
    ended = threading.Event()

    def receive() -> None:
        recv_to_end(sock)
        ended.set()

    threading.Thread(target=receive, daemon=True).start()
    for _ in range(500):
        if ended.wait(0.02):
            break
        sock.sendall(b"again")  # in Toxiproxy, and under --strict, each chunk restarts it
    assert ended.is_set()


def test_timeout_zero_is_a_black_hole_whose_removal_closes(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "timeout", {"timeout": 0}, name="hole")
    sock.sendall(b"lost")
    assert is_silent(sock, 0.1)
    lab.client.remove("edge", "hole")
    assert recv_to_end(sock) == b""


def test_reset_peer_sends_rst_to_connections_already_open(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    round_trip_s(sock)
    lab.client.add("edge", "reset_peer")
    sock.sendall(b"more")
    assert was_reset(sock)


def test_reset_peer_waits_for_data_then_for_its_time(lab: ProxyProcess, idling: Upstream) -> None:
    port = lab.edge(idling)
    lab.client.add("edge", "reset_peer", {"timeout": 200}, stream="upstream")
    client = connect(port)
    assert is_silent(client, 0.3)  # no data, no reset
    started_s = time.monotonic()
    client.sendall(b"data")
    assert was_reset(client)
    assert time.monotonic() - started_s >= 0.200
    assert was_reset(idling.first())  # both ends


def test_reset_peer_can_wait_for_bytes(lab: ProxyProcess, idling: Upstream) -> None:
    port = lab.edge(idling)
    lab.client.add("edge", "reset_peer", {"bytes": 1000})
    client = connect(port)
    server = idling.first()
    server.sendall(b"x" * 999)
    assert len(recv_exactly(client, 999)) == 999
    server.sendall(b"xx")
    assert was_reset(client)


def test_reset_peer_removed_in_time_spares_the_connection(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "reset_peer", {"timeout": 60_000}, name="reset")
    sock.sendall(b"held")
    assert is_silent(sock, 0.1)
    lab.client.remove("edge", "reset")
    assert recv_exactly(sock, 4) == b"held"
    round_trip_s(sock)


def test_strict_reset_reaches_only_connections_opened_after_it(
    strict: ProxyProcess, echoing: Upstream
) -> None:
    port = strict.edge(echoing)
    before = connect(port)
    round_trip_s(before)
    strict.client.add("edge", "reset_peer")
    after = connect(port)
    for sock in (before, after):
        sock.sendall(b"more")
    assert not was_reset(before)  # Toxiproxy issue 603
    assert was_reset(after)


def read_sizes(sock: socket.socket, total: int) -> list[int]:
    sizes = []
    while total:
        sizes.append(len(sock.recv(65536)))
        total -= sizes[-1]
    return sizes


def test_slicer_cuts_and_spaces(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    attributes = {"average_size": 100, "size_variation": 20, "delay": 20_000}
    lab.client.add("edge", "slicer", attributes)
    server = idling.first()
    started_s = time.monotonic()
    server.sendall(PAYLOAD[:1000])
    sizes = read_sizes(client, 1000)
    took_s = time.monotonic() - started_s
    assert len(sizes) >= 6
    assert max(sizes) <= 400  # two slices may be read as one
    assert took_s >= 0.020 * (1000 // 120 - 1)


@pytest.mark.parametrize(
    "attributes",
    [
        {"average_size": 0, "size_variation": 0, "delay": 0},
        {"average_size": 0, "size_variation": 50, "delay": 10},
        {"average_size": 1, "size_variation": 1000},
        {"average_size": 64, "size_variation": 0, "delay": 0},
    ],
)
def test_slicer_passes_every_byte_in_order(
    lab: ProxyProcess, echoing: Upstream, attributes: dict[str, int]
) -> None:
    sock = connect(lab.edge(echoing))
    lab.client.add("edge", "slicer", attributes)
    data = PAYLOAD[:100_000]
    assert echoed(sock, data) == data


@pytest.mark.parametrize("limit", [0, 1, 1000, 300_000])
def test_limit_data_passes_exactly_its_bytes_then_closes(
    lab: ProxyProcess, idling: Upstream, limit: int
) -> None:
    port = lab.edge(idling)
    lab.client.add("edge", "limit_data", {"bytes": limit})
    client = connect(port)
    server = idling.first()

    def send() -> None:
        with contextlib.suppress(OSError):  # the toxic closes the connection
            server.sendall(PAYLOAD)

    threading.Thread(target=send, daemon=True).start()
    assert recv_to_end(client) == PAYLOAD[:limit]


def wait_for_chunks(lab: ProxyProcess, count: int) -> None:
    wait_until(lambda: received(lab.call("GET", "/metrics")[1]) >= count, "the chunk to arrive")


def test_packet_loss_takes_whole_chunks(lab: ProxyProcess, idling: Upstream) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "packet_loss", {"loss_rate": 0.5}, name="loss", seed=SEED)
    server = idling.first()
    for number in range(60):
        server.sendall(bytes([number]))
        wait_for_chunks(lab, number + 1)
    server.shutdown(socket.SHUT_WR)
    got = recv_to_end(client)
    lost = lab.record("loss")["hits"]
    assert len(got) + lost == 60
    assert list(got) == sorted(got)
    assert 12 <= lost <= 48, f"seed {SEED}"


def received(metrics: str) -> float:
    name = "toxiproxy_proxy_received_bytes_total"
    return total(metrics, name, direction="downstream") or 0.0


@pytest.mark.parametrize(("rate", "size"), [(0.0, 1000), (1.0, 0)])
def test_packet_loss_at_its_limits(
    lab: ProxyProcess, idling: Upstream, rate: float, size: int
) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "packet_loss", {"loss_rate": rate})
    server = idling.first()
    server.sendall(bytes(1000))
    server.shutdown(socket.SHUT_WR)
    assert len(recv_to_end(client)) == size


def test_down_refuses_new_and_closes_open_connections(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    sock = connect(port)
    round_trip_s(sock)
    lab.client.enable("edge", False)
    assert recv_to_end(sock) == b""
    assert is_refused(port)
    lab.client.enable("edge", True)
    round_trip_s(connect(port))


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_toxic_touches_its_direction_only(
    lab: ProxyProcess, idling: Upstream, stream: str
) -> None:
    client = connect(lab.edge(idling))
    lab.client.add("edge", "bandwidth", {"rate": 0}, stream=stream)
    server = idling.first()
    ends = {"upstream": (client, server), "downstream": (server, client)}
    hit_from, hit_to = ends.pop(stream)
    free_from, free_to = ends.popitem()[1]
    free_from.sendall(b"through")
    assert recv_exactly(free_to, 7) == b"through"
    hit_from.sendall(b"stopped")
    assert is_silent(hit_to, 0.1)
