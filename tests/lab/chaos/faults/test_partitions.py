"""Partitions: the matrix of reachability, probed n x n over real edges, is the commanded one."""

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from lab.chaos import edges
from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.chaos.faults.partitions import Partition
from lab.proxy.client import ProxyClient
from lab.runtimes.processes.runtime import ProcessesRuntime
from tests.fixtures.labs import get
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.alone

NAMES = "abcd"
PAIRS = list(permutations(NAMES, 2))
REPLY_S = 0.4


def heard(mesh: ProcessesRuntime, service: str) -> str:
    """The effect at the callee, read directly from it."""
    return get(f"{mesh.address(f'{service}-1')}/api/effects")[2].decode()


def probe(
    mesh: ProcessesRuntime, ports: dict[str, int], pair: tuple[str, str]
) -> tuple[bool, bool]:
    """(the request had its effect, the reply came) of one call over the edge."""
    sender, receiver = pair
    word = uuid.uuid4().hex
    question = f"GET /api/effects?add={word} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    port = ports[f"{sender}->{receiver}-1"]
    with socket.create_connection(("127.0.0.1", port), timeout=REPLY_S) as sock:
        sock.sendall(question)
        try:
            replied = sock.recv(1) != b""
        except TimeoutError:
            replied = False
    return word in heard(mesh, receiver), replied


def matrix(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> dict[tuple[str, str], tuple[bool, bool]]:
    ports = {name: edge.port for name, edge in proxy_client.list().items()}
    with ThreadPoolExecutor(len(PAIRS)) as pool:
        found = pool.map(lambda pair: probe(mesh, ports, pair), PAIRS)
        return dict(zip(PAIRS, found, strict=True))


@pytest.mark.parametrize(
    ("groups", "one_way", "lost"),
    [
        pytest.param([["a", "b"], ["c", "d"]], False, "ac ad bc bd ca da cb db", id="full"),
        pytest.param([["a"], ["b"], ["c"], ["d"]], False, " ".join(map("".join, PAIRS)), id="all"),
        pytest.param([["a"], ["b", "c"]], False, "ab ac ba ca", id="partial"),
        pytest.param([["a"], ["b", "c"]], True, "ab ac", id="one way"),
    ],
)
def test_the_probed_matrix_is_the_commanded_one(
    mesh: ProcessesRuntime,
    fault_client: FaultClient,
    proxy_client: ProxyClient,
    groups: list[list[str]],
    one_way: bool,
    lost: str,
) -> None:
    passes = {pair: "".join(pair) not in lost.split() for pair in PAIRS}
    assert {p: Partition.of(groups, one_way=one_way).passes(*p) for p in PAIRS} == passes
    assert set(matrix(mesh, proxy_client).values()) == {(True, True)}
    edges.partition(groups, ttl_s=30, one_way=one_way)
    # a request arrives if its direction is open, a reply if both are
    assert matrix(mesh, proxy_client) == {
        (x, y): (passes[x, y], passes[x, y] and passes[y, x]) for x, y in PAIRS
    }
    hit = {each.target for each in fault_client.faults() if each.hits}
    assert hit == {f"{x}->{y}-1" for x, y in PAIRS if not passes[x, y] or not passes[y, x]}
    assert edges.heal() == len(hit)
    assert set(matrix(mesh, proxy_client).values()) == {(True, True)}


def test_data_sent_during_a_partition_arrives_after_it(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    """As with TCP: the caller has given up long before, and the callee still gets its request."""
    edges.partition([["a"], ["b"]], ttl_s=30)
    word = uuid.uuid4().hex
    port = proxy_client.list()["a->b-1"].port
    with socket.create_connection(("127.0.0.1", port), timeout=REPLY_S) as sock:
        sock.sendall(f"GET /api/effects?add={word} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert word not in heard(mesh, "b")
    edges.heal()
    wait_until(lambda: word in heard(mesh, "b"), "the late request")


def test_servers_and_the_ingress_can_be_cut_off_too(fault_client: FaultClient) -> None:
    edges.partition([["a"], ["postgres", "nats"]], ttl_s=30)
    assert {each.target for each in fault_client.faults()} == {"a->postgres", "a->nats"}
    edges.heal()
    edges.partition([["ingress"], ["a"]], ttl_s=30)
    assert {each.target for each in fault_client.faults()} == {"ingress->a-1"}


@pytest.mark.parametrize(
    ("groups", "one_way", "why"),
    [
        ([["a"]], False, "two or more groups"),
        ([["a"], []], False, "none of them empty"),
        (["ab", "cd"], False, "two or more groups of names"),
        ([["a", "b"], ["b"]], False, "in two groups at once: b"),
        ([["a"], ["b"], ["c"]], True, "expected 2, got 3"),
        ([["a"], ["bb"]], False, r"no service or server 'bb'.*Did you mean b\?"),
        ([["postgres"], ["valkey"]], False, "nothing would be cut"),
    ],
)
def test_an_impossible_partition_is_refused(
    fault_client: FaultClient, groups: list[list[str]], one_way: bool, why: str
) -> None:
    with pytest.raises((FaultRefusedError, UnknownTargetError), match=why):
        edges.partition(groups, ttl_s=5, one_way=one_way)
    assert fault_client.faults() == []
