"""The HTTP client against a server that answers byte by byte, breaks off, or closes kept connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from chassis.http import connections as module
from chassis.http.connections import (
    AnswerLostError,
    Connections,
    NotConnectedError,
    encode_request,
    target_of,
)
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


async def test_a_connection_is_kept_and_an_answer_may_come_byte_by_byte(server: Server) -> None:
    server.answers += [OK, OK]
    async with client() as (connections, opened):
        for _ in range(2):
            answer = await connections.request("a-1", server.address, "GET", "/x?y=1", {"k": "v"})
            assert answer == (200, {"content-length": "2", "x-twice": "a"}, b"hi")
        assert opened == ["a-1"]
    head = f"GET /x?y=1 HTTP/1.1\r\nhost: {server.address}\r\nk: v\r\n\r\n".encode()
    assert server.requests == [head, head]


@pytest.mark.parametrize(
    ("answer", "status", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + OK, 200, b"hi"),
        (b"HTTP/1.1 503 Down\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 503, b"x"),
    ],
)  # fmt: skip
async def test_each_way_to_end_an_answer_is_understood(
    server: Server, answer: bytes, status: int, content: bytes
) -> None:
    server.answers += [answer, OK]
    async with client() as (connections, opened):
        found = await connections.request("a-1", server.address, "POST", "/x", {}, b"body")
        assert (found[0], found[2]) == (status, content)
        assert (await connections.request("a-1", server.address, "GET", "/x", {}))[0] == 200
        assert len(opened) == (2 if b"close" in answer else 1)
    assert server.requests[0].endswith(b"content-length: 4\r\n\r\nbody")


async def test_an_answer_without_a_length_ends_with_the_connection(server: Server) -> None:
    server.answers.append(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    server.close_after = True
    async with client() as (connections, _):
        assert (await connections.request("a-1", server.address, "GET", "/", {}))[2] == b"all of it"


@pytest.mark.parametrize(
    "broken", [OK[:-1], b"HTTP/1.1 200 OK\r\n", b"no HTTP\r\n\r\n", b"H", None], ids=repr
)
async def test_a_broken_answer_is_lost_and_its_connection_is_not_used_again(
    server: Server, broken: bytes | None
) -> None:
    server.answers += [broken, OK]
    server.close_after = True
    async with client() as (connections, opened):
        with pytest.raises(AnswerLostError):
            await connections.request("a-1", server.address, "GET", "/", {})
        assert (await connections.request("a-1", server.address, "GET", "/", {}))[2] == b"hi"
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
            with pytest.raises(AnswerLostError):
                await again
    assert len(server.requests) == sent


async def test_a_kept_connection_that_the_server_closed_is_not_used(server: Server) -> None:
    server.answers += [OK, OK]
    async with client() as (connections, opened):
        await connections.request("a-1", server.address, "POST", "/", {})
        server.writers[0].close()
        await wait_until_async(lambda: not connections._all, "the connection to be closed")
        assert (await connections.request("a-1", server.address, "POST", "/", {}))[0] == 200
        assert len(opened) == 2


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


async def test_a_name_is_looked_up_once_at_a_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, asked = asyncio.Event(), 0

    async def resolve(host: str) -> str:
        nonlocal asked
        asked += 1
        await answered.wait()
        return "127.0.0.1"

    monkeypatch.setattr(module, "_resolve", resolve)
    monkeypatch.setattr(module, "CONNECT_S", 20.0)
    server.answers += [OK] * 3
    address = server.address.replace("127.0.0.1", "payments-1")
    async with client() as (connections, _):
        calls = [
            asyncio.create_task(connections.request("a-1", address, "GET", "/", {}))
            for _ in range(4)
        ]
        await wait_until_async(lambda: asked == 1, "the look-up")
        calls[0].cancel()  # the others still get the answer
        await asyncio.wait(calls[:1])
        answered.set()
        assert [answer[0] for answer in await asyncio.gather(*calls[1:])] == [200] * 3
    assert asked == 1


def test_it_works_in_the_event_loop_of_the_services() -> None:
    async def call() -> None:
        one = Server()
        one.answers += [OK, OK]
        listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
        address = "127.0.0.1:%d" % listening.sockets[0].getsockname()[1]  # noqa: UP031
        async with client() as (connections, opened):
            for _ in range(2):
                assert (await connections.request("a-1", address, "GET", "/", {}))[2] == b"hi"
            assert opened == ["a-1"]
        listening.close()

    uvloop.run(call())


def test_a_header_cannot_end_its_line() -> None:
    for value in ("a\r\nx: y", "a\n", "\r"):
        with pytest.raises(ValueError, match="line break"):
            encode_request("a:1", "GET", "/", {"k": value}, None)


def test_a_path_is_quoted_where_it_must_be() -> None:
    def target(path: str) -> bytes:
        return encode_request("a:1", "GET", path, {}, None).split(b" ")[1]

    assert target("/a b/ä#x?y=%20") == b"/a%20b/%C3%A4%23x?y=%20"
    assert target(target_of("/p", [("s", "a b"), ("s", "&")])) == b"/p?s=a+b&s=%26"
    assert target(target_of("/p", None)) == b"/p"
