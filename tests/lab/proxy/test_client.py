"""The typed client against the real server."""

import socket
from collections.abc import Callable

import pytest

from lab.proxy.client import ProxyClient, ProxyError, ProxyUnreachableError
from tests.lab.proxy.rig import ProxyProcess, Upstream


def test_the_client_covers_the_api(lab: ProxyProcess, echoing: Upstream) -> None:
    client = lab.client
    body = {"name": "a/b", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{echoing.port}"}
    (edge,) = client.populate([body])
    assert edge.port > 0
    toxic = client.add("a/b", "latency", {"latency": 3}, toxicity=0.5, ttl_s=60, seed=7)
    assert (toxic.name, toxic.toxicity, toxic.record["seed"]) == ("latency_downstream", 0.5, 7)
    assert client.change("a/b", toxic.name, attributes={"jitter": 1}).attributes == {
        "latency": 3,
        "jitter": 1,
    }
    assert client.list()["a/b"].toxics[0].name == toxic.name
    client.remove("a/b", toxic.name)
    assert not client.enable("a/b", False).enabled
    client.reset()
    assert client.list()["a/b"].enabled
    with pytest.raises(ProxyError, match="toxic not found") as refused:
        client.show("a/b", toxic.name)
    assert refused.value.status == 404
    client.delete("a/b")
    assert client.list() == {}


def test_a_toxic_keeps_its_direction_and_is_listed_when_removed(lab: ProxyProcess) -> None:
    client = lab.client
    client.populate([{"name": "edge", "listen": "", "upstream": "127.0.0.1:9"}])
    toxic = client.add("edge", "noop", stream="upstream")
    assert client.show("edge", toxic.name).stream == "upstream"
    assert client.change("edge", toxic.name, toxicity=0.25).toxicity == 0.25
    client.remove("edge", toxic.name)
    assert client.removed()[-1]["name"] == toxic.name
    client.enable("edge", False)
    client.reset()
    assert client.list()["edge"].enabled
    with pytest.raises(ProxyError, match="invalid toxic type"):
        client.add("edge", "unknown")


@pytest.mark.parametrize("call", [ProxyClient.list, ProxyClient.reset])
def test_an_unreachable_proxy_raises(call: Callable[[ProxyClient], object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        api = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ProxyUnreachableError):
        call(ProxyClient(api))
