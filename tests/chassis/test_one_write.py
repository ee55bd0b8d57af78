"""Answers arrive whole, and each is one write."""

import asyncio
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from chassis.one_write import HeldHead, OneWriteProtocol
from tests.fixtures.waiting import wait_until_async

app = FastAPI()


@app.get("/")
@app.head("/")
async def root(request: Request) -> Response:
    return Response(b"body")


@app.get("/empty")
async def empty() -> Response:
    return Response(status_code=204)


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(iter([b"one", b"HTTP/1.1 two"]))


@app.get("/broken")
async def broken() -> StreamingResponse:
    def pieces() -> Any:
        raise RuntimeError("after the head")
        yield b""

    return StreamingResponse(pieces())


class Counted(OneWriteProtocol):
    writes: list[bytes] = []  # noqa: RUF012 - of all connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        class Transport(HeldHead):
            def write(self, data: bytes) -> None:
                Counted.writes.append(data)
                transport.write(data)

        super().connection_made(cast(asyncio.Transport, Transport(transport)))


async def exchange(port: int, data: bytes) -> bytes:
    """Everything that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "answer", "writes"),
    [
        (b"GET /", b"\r\n\r\nbody", 1),
        (b"HEAD /", b"content-length: 4", 1),
        (b"GET /empty", b"204 No Content", 1),
        (b"GET /stream", b"3\r\none\r\nc\r\nHTTP/1.1 two\r\n0\r\n\r\n", 3),
        (b"GET /broken", b"200 OK", 1),
        (b"no method", b"400 Bad Request", 1),
    ],
)
async def test_an_answer_is_one_write_and_a_stream_one_per_piece(
    request_line: bytes, answer: bytes, writes: int
) -> None:
    config = uvicorn.Config(app, port=0, http=Counted, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await wait_until_async(lambda: server.started or serving.done(), "the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        Counted.writes.clear()
        data = request_line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        found = await exchange(port, data)
        assert answer in found
        assert found.startswith(b"HTTP/1.1 ")
        assert len([each for each in Counted.writes if each]) == writes
    finally:
        server.should_exit = True
        await serving


async def test_answers_on_one_connection_follow_each_other() -> None:
    config = uvicorn.Config(app, port=0, http=OneWriteProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await wait_until_async(lambda: server.started or serving.done(), "the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        paths = [b"/", b"/empty", b"/nothing", b"/"]
        data = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths[:-1])
        data += b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        found = await exchange(port, data)  # pipelined
        statuses = [piece[1:4] for piece in found.split(b"HTTP/1.1")[1:]]
        assert statuses == [b"200", b"204", b"404", b"200"]
    finally:
        server.should_exit = True
        await serving
