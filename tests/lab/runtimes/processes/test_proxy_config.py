"""A proxied lab: every call passes an edge; edges follow the instances and survive a restart of the proxy."""

import os
import signal
import socket
from urllib.parse import urlsplit

import psutil
import pytest

from lab.edges import all_edges
from lab.proxy.client import ProxyClient, ProxyError, ProxyUnreachableError
from lab.runtimes.base import UpOptions
from lab.runtimes.processes.runtime import ProcessesRuntime
from lab.runtimes.supervisor.client import ControlError
from lab.state import StateError
from lab.topology import load
from tests.fixtures.labs import MESH, get, process
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.alone


def who_answers(address: str) -> str:
    return str(get(f"http://{address}/api/who")[2])


def test_every_caller_has_an_edge_to_every_instance_it_calls_and_every_server_it_uses(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    calls = {f"{a}->{b}-1" for a in "abcd" for b in "abcd" if a != b}
    servers = {"a->postgres", "a->valkey", "a->nats", "b->smtp"}
    assert set(proxy_client.list()) == calls | servers | {"ingress->a-1"}


def test_an_edge_forwards_to_its_callee(mesh: ProcessesRuntime, proxy_client: ProxyClient) -> None:
    for name, edge in proxy_client.list().items():
        if name.endswith("-1"):
            assert name.rpartition("->")[2] in who_answers(edge.listen), name


def test_a_service_gets_only_its_own_edges(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    (settings,) = [get(f"{mesh.address('a-1')}/api/settings")[2].decode()]
    there = proxy_client.list()
    for name in ("a->postgres", "a->valkey", "a->nats", "a->b-1", "a->d-1"):
        assert there[name].listen in settings, name
    for port in ("postgres", "valkey", "nats"):
        direct = load(MESH).ports(mesh.port_base)[port]
        assert f":{direct}" not in settings, f"{port} can be reached without its edge"
    assert there["b->c-1"].listen not in settings


def test_the_ingress_reaches_the_front_over_its_edge(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    assert get(mesh.address("ingress") + "/api/who")[0] == 200
    proxy_client.enable("ingress->a-1", False, ttl_s=5)
    assert get(mesh.address("ingress") + "/api/who")[0] == 502
    proxy_client.enable("ingress->a-1", True)
    assert get(mesh.address("ingress") + "/api/who")[0] == 200


def test_without_the_token_the_proxy_returns_only_its_version(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    address = mesh.lab.addresses["proxy"]
    assert get(f"{address}/version")[0] == 200
    assert get(f"{address}/proxies")[0] == 401
    assert get(f"{address}/{'0' * 32}/proxies")[0] == 401
    # for clients of Toxiproxy's that take a URL
    assert get(f"{address}/{mesh.lab.proxy_token}/proxies")[0] == 200
    with pytest.raises(ProxyError, match="401"):
        ProxyClient(urlsplit(address).netloc).list()


def test_edges_follow_scaling_and_the_others_keep_what_they_have(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    proxy_client.add("a->b-1", "noop", name="kept")
    mesh.scale("b", 2)
    there = proxy_client.list()
    assert {"a->b-2", "c->b-2", "d->b-2"} <= set(there)
    assert "b-2" in who_answers(there["a->b-2"].listen)
    assert [toxic.name for toxic in there["a->b-1"].toxics] == ["kept"]
    mesh.scale("b", 1)
    assert not any(name.endswith("b-2") for name in proxy_client.list())
    proxy_client.remove("a->b-1", "kept")


def test_a_taken_port_of_an_edge_is_named(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:

    edge = next(each for each in all_edges(load(MESH)) if each.name == "a->c-2")
    taken = socket.create_server(("127.0.0.1", mesh.port_base + edge.offset))
    with taken, pytest.raises(ControlError, match=r"a->c-2.*taken"):
        mesh.scale("c", 2)
    assert "a->c-2" not in proxy_client.list()


def test_a_killed_proxy_is_back_with_its_edges_and_without_toxics(
    mesh: ProcessesRuntime, proxy_client: ProxyClient
) -> None:
    before = proxy_client.list()
    proxy_client.add("a->b-1", "latency", {"latency": 5000}, ttl_s=60)
    pid = process(mesh, "proxy")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid), "the proxy's end")

    def back() -> bool:
        try:
            return set(proxy_client.list()) == set(before)
        except ProxyUnreachableError:
            return False

    wait_until(back, "the proxy with its edges")
    after = proxy_client.list()
    assert {name: edge.listen for name, edge in after.items()} == {
        name: edge.listen for name, edge in before.items()
    }
    assert not any(edge.toxics for edge in after.values())
    assert "b-1" in who_answers(after["a->b-1"].listen)
    wait_until(lambda: mesh.status()["ready"], "all ready")


def test_the_error_for_a_running_lab_without_edges_names_the_command(
    mesh: ProcessesRuntime,
) -> None:
    assert mesh.up(UpOptions(proxied=True)).already
    # as if it had been started without
    lab = mesh.lab
    address = lab.addresses.pop("proxy")
    lab.save()
    try:
        with pytest.raises(StateError, match="lab up --proxied"):
            mesh.up(UpOptions(proxied=True))
    finally:
        lab.addresses["proxy"] = address
        lab.save()
