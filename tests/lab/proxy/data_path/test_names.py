"""Names: a mute name server delays only the clients of its names, and never for long."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque

import pytest

from lab.proxy.api.json_fields import Fields
from lab.proxy.data_path import addresses, names
from lab.proxy.data_path.memory import Memory
from lab.proxy.data_path.names import Names, Resolved
from lab.proxy.data_path.timers import Timers
from lab.proxy.deviations import OURS
from lab.proxy.errors import CannotListenError
from lab.proxy.proxies import Proxies
from lab.proxy.proxy import ProxyContext


class NameServer:
    """A look-up that answers for `known` names; for the others only after `answer` is set."""

    def __init__(self, *known: str) -> None:
        self.known = known
        self.asked: list[str | None] = []
        self.answer = threading.Event()

    def __call__(self, host: str | None, port: str) -> list[Resolved]:
        self.asked.append(host)
        if host not in self.known:
            assert self.answer.wait(30)
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, ("127.0.0.1", int(port)))]


def test_a_mute_name_delays_no_other_name_and_is_looked_up_once() -> None:
    server = NameServer("good")
    resolver = Names(server, wait_s=0.3)

    async def main() -> None:
        mute = [asyncio.ensure_future(resolver.resolve("mute", "80")) for _ in range(24)]
        await asyncio.sleep(0)
        assert await resolver.resolve("good", "80") == [(socket.AF_INET, ("127.0.0.1", 80))]
        assert not any(task.done() for task in mute)
        refused = await asyncio.gather(*mute, return_exceptions=True)
        assert all("within 0.3 s" in str(each) for each in refused)

    try:
        asyncio.run(main())
    finally:
        server.answer.set()
    assert server.asked == ["mute", "good"]


def test_more_mute_names_than_look_ups_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "LOOKUPS_MAX", 3)
    server = NameServer()
    resolver = Names(server, wait_s=0.2)

    async def main() -> None:
        found = await asyncio.gather(
            *(resolver.resolve(f"mute{n}", "80") for n in range(4)), return_exceptions=True
        )
        assert [isinstance(each, TimeoutError) for each in found] == [True, True, True, False]
        assert isinstance(found[3], OSError)

    try:
        asyncio.run(main())
    finally:
        server.answer.set()


def test_an_older_answer_is_used_while_the_name_server_is_mute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "FRESH_S", 0.0)
    server = NameServer("shop")
    resolver = Names(server)

    async def main() -> None:
        first = await resolver.resolve("shop", "80")
        server.known = ()
        assert await resolver.resolve("shop", "80") == first
        server.answer.set()
        with pytest.raises(socket.gaierror):  # an answer that the name is gone counts
            await resolver.resolve("shop", "80")

    asyncio.run(main())


def test_a_name_is_looked_up_again_after_its_address_refused() -> None:
    server = NameServer("shop")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def main() -> None:
        resolver = Names(server)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await addresses.dial(f"shop:{port}", resolver)

    asyncio.run(main())
    assert server.asked == ["shop", "shop"]


def test_a_proxy_removed_while_reset_resolves_its_name_stays_removed() -> None:
    server = NameServer()
    found: list[Resolved] = []

    def lookup(host: str | None, port: str) -> list[Resolved]:
        if host == "slow":
            server.answer.wait(30)
        with socket.create_server(("127.0.0.1", 0)) as free:
            found.append((socket.AF_INET, free.getsockname()))
        return found[-1:]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = ProxyContext(loop, Timers(loop), OURS, 1, deque(), Names(lookup), Memory())
        proxies = Proxies(context)
        fields = {"name": "edge", "listen": "slow:0", "upstream": "127.0.0.1:9", "enabled": False}
        await proxies.create(Fields(fields))
        reset = asyncio.ensure_future(proxies.reset())
        await asyncio.sleep(0)
        proxies.remove("edge")
        server.answer.set()
        await reset
        assert proxies.all() == []
        with pytest.raises(ConnectionRefusedError):
            await loop.run_in_executor(None, socket.create_connection, found[0][1], 5)
        context.timers.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("port", "number"), [("", 0), ("80", 80), ("+80", 80), ("http", 80), ("65535", 65535)]
)
def test_ports(port: str, number: int) -> None:
    assert addresses.port_number(port) == number


@pytest.mark.parametrize(
    ("port", "text"),
    [
        ("-1", "address -1: invalid port"),
        ("65536", "address 65536: invalid port"),
        ("no-such-service", "lookup tcp/no-such-service: unknown port"),
        ("٨٠", "unknown port"),
    ],
)
def test_ports_that_are_none(port: str, text: str) -> None:
    with pytest.raises(CannotListenError, match=text):
        addresses.port_number(port)


def test_look_up_reports_a_name_that_cannot_be_one() -> None:
    with pytest.raises(socket.gaierror):
        names.look_up("a" * 300 + ".example", "80")
