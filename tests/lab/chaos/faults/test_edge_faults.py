"""Faults of edges: each measured at real sockets, for one caller and not for another, until its TTL."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import cli
from lab.chaos import edges, probes
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.running_lab import RunningLab
from lab.proxy.client import ProxyClient
from lab.run.evidence.fault_rows import fault_rows
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.alone

QUESTION = b"GET /api/who HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def caller(proxy_client: ProxyClient, edge: str, timeout_s: float = 3.0) -> Iterator[socket.socket]:
    """A connection as the edge's caller makes it."""
    address = ("127.0.0.1", proxy_client.list()[edge].port)
    with socket.create_connection(address, timeout=timeout_s) as sock:
        yield sock


def asked_s(proxy_client: ProxyClient, edge: str) -> float:
    """Seconds of one request over the edge."""
    connection = http.client.HTTPConnection(
        f"127.0.0.1:{proxy_client.list()[edge].port}", timeout=5
    )
    began = time.perf_counter()
    connection.request("GET", "/api/who")
    assert connection.getresponse().status == 200
    connection.close()
    return time.perf_counter() - began


def test_latency_hits_one_caller_and_not_another_of_the_same_callee(
    fault_client: FaultClient, proxy_client: ProxyClient
) -> None:
    (placed,) = fault_client.add_fault(
        "a->b-1", {"kind": "latency", "attributes": {"latency_ms": 300}, "ttl_s": 20}
    )
    assert asked_s(proxy_client, "a->b-1") >= 0.3
    wait_until(lambda: asked_s(proxy_client, "c->b-1") < 0.3, "another caller without the latency")
    (seen,) = fault_client.faults("a->b-1")
    assert seen.hits >= 1
    assert placed.attributes == {"latency_ms": 300, "jitter_ms": 0}
    assert (seen.point, seen.kind) == ("edge", "latency")
    assert probes.fault_effective("a->b-1", "latency")
    fault_client.remove(placed)
    wait_until(lambda: asked_s(proxy_client, "a->b-1") < 0.3, "the edge without the latency")


def test_a_service_or_stars_select_every_matching_edge(fault_client: FaultClient) -> None:
    def hit(target: str) -> set[str]:
        placed = fault_client.add_fault(target, {"kind": "noop", "ttl_s": 20})
        return {each.target for each in placed}

    assert hit("a->b") == {"a->b-1"}
    assert hit("*->b") == {"a->b-1", "c->b-1", "d->b-1"}
    assert hit("a->*") == {"a->b-1", "a->c-1", "a->d-1", "a->postgres", "a->valkey", "a->nats"}
    assert fault_client.clear() == 1 + 3 + 6


def test_down_refuses_connections_until_its_ttl(
    fault_client: FaultClient, proxy_client: ProxyClient
) -> None:
    with caller(proxy_client, "a->b-1") as open_before:
        fault_client.add_fault("a->b-1", {"kind": "down", "ttl_s": 0.6})
        assert open_before.recv(10) == b""
    with pytest.raises(ConnectionRefusedError), caller(proxy_client, "a->b-1"):
        pass
    wait_until(lambda: not fault_client.faults(), "the TTL")
    asked_s(proxy_client, "a->b-1")
    gone = fault_client.history("a->b-1")[-1]
    assert gone.lasted_s >= 0.6


def test_a_black_hole_causes_a_read_timeout_and_no_refusal(
    fault_client: FaultClient, proxy_client: ProxyClient
) -> None:
    fault_client.add_fault("a->b-1", {"kind": "blackhole", "ttl_s": 20})
    with caller(proxy_client, "a->b-1", timeout_s=0.3) as sock:
        sock.sendall(QUESTION)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    (seen,) = fault_client.faults()
    assert seen.hits >= 1
    assert seen.scope == {"stream": "both"}


def test_a_reset_reaches_an_open_connection(
    fault_client: FaultClient, proxy_client: ProxyClient
) -> None:
    with caller(proxy_client, "a->b-1") as sock:
        fault_client.add_fault("a->b-1", {"kind": "reset_peer", "ttl_s": 20})
        sock.sendall(QUESTION)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


@pytest.mark.parametrize("when_full", ["queue", "refuse"])
def test_beyond_its_cap_an_edge_queues_or_refuses(
    fault_client: FaultClient, proxy_client: ProxyClient, when_full: str
) -> None:
    attributes = {"connections": 1, "when_full": when_full}
    fault_client.add_fault(
        "a->b-1", {"kind": "connection_cap", "attributes": attributes, "ttl_s": 20}
    )
    with caller(proxy_client, "a->b-1") as first:
        first.sendall(QUESTION)
        assert first.recv(4) == b"HTTP"
        if when_full == "queue":
            with caller(proxy_client, "a->b-1", timeout_s=0.3) as second:
                second.sendall(QUESTION)
                with pytest.raises(TimeoutError):
                    second.recv(4)
                assert proxy_client.list()["a->b-1"].open_connections <= 1
                first.close()
                second.settimeout(5)
                assert second.recv(4) == b"HTTP", "its turn came"
        else:
            # the reset may come as early as the answer to connect
            with pytest.raises(ConnectionResetError), caller(proxy_client, "a->b-1") as second:
                second.sendall(QUESTION)
                second.recv(4)
            assert proxy_client.list()["a->b-1"].open_connections <= 1
    (seen,) = fault_client.faults()
    assert seen.hits == 1
    with pytest.raises(FaultRefusedError, match="already"):
        fault_client.add_fault(
            "a->b-1", {"kind": "connection_cap", "attributes": attributes, "ttl_s": 1}
        )


def test_faults_of_a_killed_commander_end_at_their_ttl(
    mesh: ProcessesRuntime, fault_client: FaultClient
) -> None:
    """The commander is killed as soon as the fault is effective; 30 times."""
    ttl_s, kills = 1.0, 30
    script = (
        "import os, signal\n"
        "from lab.chaos import edges\n"
        f"for n in range({kills}):\n"
        "    if os.fork() == 0:\n"
        "        kind = ['bandwidth', 'blackhole', 'partition'][n % 3]\n"
        "        attributes = {'rate_kb_s': 9} if n % 3 == 0 else None\n"
        f"        edges.add_toxic('abcd'[n % 3] + '->d', kind, {ttl_s}, attributes)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    assert os.wait()[1] == signal.SIGKILL\n"
    )
    started_s = time.time()
    subprocess.run([sys.executable, "-c", script], check=True)
    wait_until(lambda: not fault_client.faults(), "all to end")
    gone = [each for each in fault_client.history() if (each.commanded_s or 0) >= started_s]
    assert len(gone) == kills
    assert all(each.lasted_s >= ttl_s for each in gone)
    assert {each.evidence["removed_by"] for each in gone} == {"ttl"}


def test_rows_of_the_archive_come_from_the_proxys_own_counters(
    fault_client: FaultClient, proxy_client: ProxyClient, tmp_path: Path
) -> None:
    since_s = time.time()
    edges.add_toxic("a->b", "latency", 30, attributes={"latency_ms": 20})
    asked_s(proxy_client, "a->b-1")
    assert edges.heal("a->b-1") == 1
    (row,) = fault_rows(fault_client, tmp_path / "journal.json", since_s)
    assert (row.target, row.kind, row.attributes["latency_ms"]) == ("a->b-1", "latency", 20)
    times = [row.commanded_s, row.effective_s, row.removed_s]
    assert times == sorted(filter(None, times))
    assert row.hits >= 1
    assert row.evidence["counted_by"] == "proxy"


@pytest.mark.parametrize(
    ("target", "spec", "why"),
    [
        ("a->bb-1", {"kind": "noop"}, r"no edge 'a->bb-1'.*Did you mean a->b-1\?"),
        ("a->b", {"kind": "latencyy"}, r"Did you mean latency\?"),
        ("a->b", {"kind": "latency"}, "latency needs latency_ms"),
        (
            "a->b",
            {"kind": "latency", "attributes": {"latency": 3}},
            "expected latency_ms, jitter_ms",
        ),
        ("a->b", {"kind": "latency", "attributes": {"latency_ms": -3}}, "must not be negative"),
        ("a->b", {"kind": "latency", "attributes": {"latency_ms": "x"}}, "must be a whole number"),
        ("a->b", {"kind": "noop", "scope": {"route": "/x"}}, "expected stream, share"),
        (
            "a->b",
            {"kind": "noop", "scope": {"stream": "up"}},
            "expected upstream, downstream or both",
        ),
        ("a->b", {"kind": "noop", "scope": {"share": 0}}, "above 0 and up to 1"),
        ("a->b", {"kind": "noop", "ttl_s": 0}, "ttl_s: expected seconds"),
    ],
)
def test_an_impossible_fault_of_an_edge_is_refused_and_changes_nothing(
    fault_client: FaultClient, target: str, spec: dict[str, object], why: str
) -> None:
    with pytest.raises((FaultRefusedError, UnknownTargetError), match=why):
        fault_client.add_fault(target, {"ttl_s": 5, **spec})
    assert fault_client.faults() == []


def test_an_edge_that_is_down_accepts_no_other_fault(fault_client: FaultClient) -> None:
    fault_client.add_fault("a->b-1", {"kind": "down", "ttl_s": 5})
    for kind in ("down", "latency"):
        spec: dict[str, Any] = {"kind": kind, "ttl_s": 5}
        spec |= {"attributes": {"latency_ms": 1}} if kind == "latency" else {}
        with pytest.raises(FaultRefusedError, match="a->b-1"):
            fault_client.add_fault("*->b-1", spec)
    assert len(fault_client.faults()) == 1, "all or none"


def test_without_a_fault_proxy_the_error_names_the_command(mesh: ProcessesRuntime) -> None:
    state = mesh.lab
    del state.addresses["proxy"]
    direct = FaultClient(RunningLab(state))
    with pytest.raises(FaultRefusedError, match="lab up --proxied"):
        direct.add_fault("a->b", {"kind": "noop", "ttl_s": 1})


@pytest.fixture
def lab(
    mesh: ProcessesRuntime, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    def run(*argv: str) -> tuple[int, str]:
        code = cli.run(["faults", *argv, "--port-base", str(mesh.port_base)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def test_the_command_line_adds_lists_and_clears_on_edges(
    lab: Callable[..., tuple[int, str]], fault_client: FaultClient
) -> None:
    code, printed = lab("add", "a->b", "latency", "latency_ms=5", "--ttl", "30", "--json")
    assert code == 0
    (item,) = json.loads(printed)["items"]
    assert (item["target"], item["attributes"]) == ("a->b-1", {"latency_ms": 5, "jitter_ms": 0})
    assert "a->b-1" in lab("list")[1]
    assert lab("partition", "a", "b,c", "--ttl", "30", "--one-way")[0] == 0
    assert len(fault_client.faults()) == 1 + 4
    assert lab("clear", "a->b")[1] == "2 removed\n"
    assert lab("clear")[1] == "3 removed\n"
    code, printed = lab("add", "a->x", "noop")
    assert code == 2
    assert "no edge 'a->x'" in printed


def test_an_edge_without_quotes_is_recognised(lab: Callable[..., tuple[int, str]]) -> None:
    """`lab faults add a->b noop`: the shell has read >b as a redirection."""
    code, printed = lab("add", "a-", "noop")
    assert code == 2
    assert "in quotes" in printed


def test_a_hung_proxy_does_not_read_as_no_faults(
    mesh: ProcessesRuntime, fault_client: FaultClient
) -> None:
    state = mesh.lab
    state.addresses["proxy"] = "http://127.0.0.1:9"
    with pytest.raises(FaultRefusedError, match="the fault proxy does not answer"):
        FaultClient(RunningLab(state)).faults()
