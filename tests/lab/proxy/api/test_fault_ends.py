"""The end of faults: TTL in the proxy, records of every fault, graceful stops."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.waiting import wait_until
from tests.lab.proxy.rig import (
    ROOT,
    ProxyProcess,
    Upstream,
    connect,
    is_refused,
    recv_to_end,
    round_trip_s,
    running,
)

pytestmark = pytest.mark.alone


def test_a_toxic_is_removed_at_its_ttl(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    started_s = time.monotonic()
    lab.client.add("edge", "bandwidth", {"rate": 0}, ttl_s=0.3)
    sock.sendall(b"held")
    assert sock.recv(4) == b"held"
    assert time.monotonic() - started_s >= 0.3
    assert lab.client.list()["edge"].toxics == ()
    assert lab.client.removed()[-1]["breakwater"]["removed_by"] == "ttl"


def test_a_ttl_can_be_renewed(lab: ProxyProcess) -> None:
    lab.edge(9)
    first = lab.client.add("edge", "noop", ttl_s=0.2).record["expires_s"]
    renewed = lab.client.change("edge", "noop_downstream", ttl_s=60).record["expires_s"]
    assert renewed > first + 50
    wait_until(lambda: time.time() > first + 0.1, "the first TTL to pass")
    assert lab.client.list()["edge"].toxics
    lab.client.change("edge", "noop_downstream", ttl_s=0.05)
    wait_until(lambda: not lab.client.list()["edge"].toxics, "the last TTL")


def test_an_outage_ends_at_its_ttl(lab: ProxyProcess, echoing: Upstream) -> None:
    port = lab.edge(echoing)
    lab.client.enable("edge", False, ttl_s=0.2)
    assert is_refused(port)
    wait_until(lambda: not is_refused(port), "the edge to come up")
    last = lab.client.removed()[-1]
    assert (last["type"], last["breakwater"]["removed_by"]) == ("down", "ttl")


def test_an_outage_whose_port_is_in_use_ends_when_the_port_is_free(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    port = lab.edge(echoing)
    lab.client.enable("edge", False, ttl_s=0.05)
    with socket.create_server(("127.0.0.1", port)):
        expired = lab.call("GET", "/proxies/edge")[1]["breakwater"]["outage"]["expires_s"]
        wait_until(lambda: time.time() > expired + 0.15, "the TTL to pass")
        assert not lab.client.list()["edge"].enabled
    wait_until(lambda: lab.client.list()["edge"].enabled, "the edge to come up")
    round_trip_s(connect(port))


def test_a_killed_client_leaves_nothing_after_the_ttl(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    script = (
        "import sys, time; from lab.proxy.client import ProxyClient\n"
        f"ProxyClient({lab.api!r}).add('edge', 'latency', {{'latency': 400}}, ttl_s=0.5)\n"
        "print('added', flush=True); time.sleep(60)"
    )
    controller = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert controller.stdout is not None
    assert controller.stdout.readline() == b"added\n"
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    controller.stdout.close()
    wait_until(lambda: not lab.client.list()["edge"].toxics, "the TTL")
    wait_until(lambda: round_trip_s(sock) < 0.4, "a round trip without the latency")


def test_a_record_has_times_and_counts(lab: ProxyProcess, echoing: Upstream) -> None:
    sock = connect(lab.edge(echoing))
    round_trip_s(sock)
    before = time.time()
    lab.client.add("edge", "latency", {"latency": 1}, name="late")
    for _ in range(3):
        round_trip_s(sock, b"x" * 100)
    record = lab.record("late")
    assert before <= record["commanded_s"] <= record["effective_s"] <= record["first_hit_s"]
    assert record["first_hit_s"] <= record["last_hit_s"] <= time.time()
    counts = [record[key] for key in ("connections", "affected", "hits", "bytes", "spared")]
    assert counts == [1, 1, 3, 300, 0]
    assert record["removed_s"] is None
    lab.client.remove("edge", "late")
    last = lab.client.removed()[-1]
    assert (last["proxy"], last["name"]) == ("edge", "late")
    assert last["breakwater"]["removed_by"] == "api"
    assert last["breakwater"]["removed_s"] >= record["last_hit_s"]


def test_the_first_request_after_the_command_is_affected(
    lab: ProxyProcess, echoing: Upstream
) -> None:
    sock = connect(lab.edge(echoing))
    for number in range(10):
        round_trip_s(sock)
        lab.client.add("edge", "latency", {"latency": 15}, name=f"late{number}")
        assert round_trip_s(sock) >= 0.015
        lab.client.remove("edge", f"late{number}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_gracefully(echoing: Upstream, number: signal.Signals) -> None:
    with running() as server:
        port = server.edge(echoing)
        server.client.add("edge", "latency", {"latency": 60_000})
        sock = connect(port)
        sock.sendall(b"held")
        wait_until(lambda: server.record("latency_downstream")["hits"], "the echo to be held")
        server.process.send_signal(number)
        assert server.process.wait(timeout=10) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == b""
        recv_to_end(sock)
        assert is_refused(port)


def command(*options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "lab.proxy", *options]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_an_api_port_in_use_is_reported(lab: ProxyProcess) -> None:
    ended = command("--port", lab.api.rpartition(":")[2])
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr


def test_a_bad_configuration_is_reported(tmp_path: Path) -> None:
    assert command("--config", str(tmp_path / "none.json")).returncode == 2
    config = tmp_path / "proxies.json"
    config.write_text('[{"name": "x"}]')
    ended = command("--port", "0", "--config", str(config))
    assert ended.returncode == 1
    assert "missing required field: upstream at proxy 1" in ended.stderr


def test_a_configuration_is_populated(tmp_path: Path, echoing: Upstream) -> None:
    config = tmp_path / "proxies.json"
    edge = {"name": "edge", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{echoing.port}"}
    config.write_text(json.dumps([edge]))
    with running("--config", str(config)) as server:
        round_trip_s(connect(server.client.list()["edge"].port))
