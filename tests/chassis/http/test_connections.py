"""The connections to other services, against a server that breaks off or closes kept connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chassis.http import connections as module
from chassis.http.connections import Connections, NotConnectedError
from tests.fixtures.servers import free_port
from tests.fixtures.waiting import wait_until_async

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Twice: a\r\nX-Twice: b\r\n\r\nhi"


class Server:
    """Answers each request with the next of `answers`; None closes the connection without an answer."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.pause = asyncio.Event()
        self.pause.set()
        self.writers: list[asyncio.StreamWriter] = []
        self.close_after = False
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length")]
                size = int(length[0].split(b":")[1]) if length else 0
                self.requests.append(head + await reader.readexactly(size))
                await self.pause.wait()
                answer = self.answers.pop(0)
                for place in range(len(answer or b"")):
                    writer.write((answer or b"")[place : place + 1])
                    await writer.drain()
                if answer is None or self.close_after:
                    break
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.address = "127.0.0.1:%d" % listening.sockets[0].getsockname()[1]  # noqa: UP031
    yield one
    one.pause.set()
    for writer in one.writers:
        writer.close()
    listening.close()


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Connections, list[str]]]:
    opened: list[str] = []
    connections = Connections(opened.append)
    try:
        yield connections, opened
    finally:
        await connections.close()


async def test_a_connection_is_kept_and_counted_once(server: Server) -> None:
    server.answers += [OK, OK]
    async with client() as (connections, opened):
        for _ in range(2):
            status, headers, content = await connections.request(
                "a-1", server.address, "GET", "/x", {"k": "v"}, params=[("s", "a b")]
            )
            assert (status, headers["x-twice"], content) == (200, "a", b"hi")
        assert opened == ["a-1"]
    assert all(each.startswith(b"GET /x?s=a+b HTTP/1.1\r\n") for each in server.requests)


@pytest.mark.parametrize(
    "broken", [OK[:-1], b"HTTP/1.1 200 OK\r\n", b"no HTTP\r\n\r\n", b"H", None], ids=repr
)
async def test_a_broken_answer_is_lost_and_its_connection_is_not_used_again(
    server: Server, broken: bytes | None
) -> None:
    server.answers += [broken, OK]
    server.close_after = True
    async with client() as (connections, opened):
        with pytest.raises(ConnectionError):
            await connections.request("a-1", server.address, "POST", "/", {})
        assert (await connections.request("a-1", server.address, "POST", "/", {}))[2] == b"hi"
        assert len(opened) == 2


@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("POST", 2)])
async def test_only_a_request_that_may_be_repeated_is_sent_again_when_a_kept_connection_ends(
    server: Server, method: str, sent: int
) -> None:
    server.answers += [OK, None, OK]
    async with client() as (connections, _):
        await connections.request("a-1", server.address, "GET", "/", {})
        again = connections.request("a-1", server.address, method, "/", {})
        if method == "GET":
            assert (await again)[0] == 200
        else:
            with pytest.raises(ConnectionError):
                await again
    assert len(server.requests) == sent


async def test_a_cancelled_request_closes_its_connection(server: Server) -> None:
    server.answers += [OK, OK]
    server.pause.clear()
    async with client() as (connections, opened):
        late = asyncio.create_task(connections.request("a-1", server.address, "GET", "/", {}))
        await wait_until_async(lambda: bool(server.requests), "the request")
        late.cancel()
        await asyncio.wait([late])
        server.pause.set()
        assert (await connections.request("a-1", server.address, "GET", "/", {}))[2] == b"hi"
        assert len(opened) == 2


async def test_an_answer_that_does_not_come_is_not_waited_for_without_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    server.pause.clear()
    async with client() as (connections, _):
        with pytest.raises(TimeoutError):
            await connections.request("a-1", server.address, "GET", "/", {})


async def test_a_connection_that_was_idle_for_too_long_is_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", -1.0)
    server.answers += [OK, OK]
    async with client() as (connections, opened):
        for _ in range(2):
            await connections.request("a-1", server.address, "GET", "/", {})
        assert len(opened) == 2


async def test_more_requests_than_connections_wait_for_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_PER_HOST", 2)
    server.answers += [OK] * 5
    async with client() as (connections, opened):
        calls = [connections.request("a-1", server.address, "GET", "/", {}) for _ in range(5)]
        assert [answer[0] for answer in await asyncio.gather(*calls)] == [200] * 5
        assert len(opened) == 2


async def test_without_a_connection_nothing_was_sent() -> None:
    async with client() as (connections, opened):
        for address in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:80"):
            with pytest.raises(NotConnectedError):
                await connections.request("a-1", address, "POST", "/", {})
        assert opened == []
