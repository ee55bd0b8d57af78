"""The typed client against the real server, and the alarms on both kinds of timer."""

import asyncio
import socket
import time

import aiohttp
import pytest

from lab.proxy.client.async_client import AsyncProxyClient
from lab.proxy.client.client import ProxyClient, ProxyError, ProxyUnreachable
from lab.proxy.data_path import timerfd
from lab.proxy.data_path.timers import Alarms
from tests.lab.proxy.rig import ProxyProcess, Upstream


def test_the_plain_client_walks_through_the_api(lab: ProxyProcess, echoing: Upstream) -> None:
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
    lab.ask("DELETE", "/proxies/a%2Fb")
    assert client.list() == {}


async def test_the_async_client_does_the_same(lab: ProxyProcess) -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncProxyClient(session, lab.api)
        await client.populate([{"name": "edge", "listen": "", "upstream": "127.0.0.1:9"}])
        toxic = await client.add("edge", "noop", stream="upstream")
        assert (await client.show("edge", toxic.name)).stream == "upstream"
        await client.change("edge", toxic.name, toxicity=0.25)
        await client.remove("edge", toxic.name)
        assert (await client.removed())[-1]["name"] == toxic.name
        await client.enable("edge", False)
        await client.reset()
        assert (await client.list())["edge"].enabled
        with pytest.raises(ProxyError, match="invalid toxic type"):
            await client.add("edge", "unheard_of")


async def test_nobody_there_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        api = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ProxyUnreachable):
        ProxyClient(api).list()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ProxyUnreachable):
            await AsyncProxyClient(session, api).list()


@pytest.fixture(params=["timerfd", "loop only"])
def timers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "loop only":
        monkeypatch.setattr(timerfd, "create", lambda: None)
    return str(request.param)


async def test_alarms_are_never_early_and_in_order(timers: str) -> None:
    alarms = Alarms(asyncio.get_running_loop())
    rung: list[tuple[float, float]] = []
    done = asyncio.Event()

    def ring(when_s: float) -> None:
        rung.append((when_s, time.monotonic()))
        if len(rung) == 50:
            done.set()

    start_s = time.monotonic()
    for number in range(50):
        when_s = start_s + (number * 37 % 50) / 1000
        alarms.at(when_s, lambda when_s=when_s: ring(when_s))
        alarms.at(when_s, lambda: pytest.fail("cancelled, yet it rang")).cancel()
    await asyncio.wait_for(done.wait(), 5)
    alarms.close()
    assert [when_s for when_s, _ in rung] == sorted(when_s for when_s, _ in rung)
    assert all(rang_s >= when_s for when_s, rang_s in rung)


async def test_an_alarm_that_fails_does_not_stop_the_others(timers: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    alarms = Alarms(loop)
    done = asyncio.Event()
    now_s = time.monotonic()

    def fail() -> None:
        raise RuntimeError("planned")

    alarms.at(now_s, fail)
    alarms.at(now_s, done.set)
    await asyncio.wait_for(done.wait(), 5)
    alarms.close()
