"""The HTTP/1.1 client of the services: kept connections, and a request in one write.

A general client builds some forty objects for each request, which was half the cost of a call. Services send small
bodies to known services, so this one has no redirects, cookies, compression, streams or TLS.
"""

import asyncio
import ipaddress
import re
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import quote, urlencode

import httptools

# Of one connect. A live host answers within milliseconds, a dead one not at all. It is shorter than the attempt's
# timeout: the client then knows that nothing was sent, and has time to call another instance.
CONNECT_S = 0.25
CONNECTIONS_PER_HOST = 100
IDLE_S = (
    30.0  # shorter than the server's: a connection must not be closed while a request is on its way
)
ANSWER_S = 30.0  # the policies bound each call; this is the limit for the profile `none`
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
PLAIN_TARGET = re.compile(r"[!-\"$-~]*")  # visible ASCII characters, without the fragment's #

Answer = tuple[int, dict[str, str], bytes]  # status, headers with names in lower case, content


class NotConnectedError(OSError):
    """No connection, so nothing was sent."""


class AnswerLostError(ConnectionError):
    """The connection ended before the whole answer arrived. `begun`: a part of it did."""

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


class Connection(asyncio.Protocol):
    """One connection, with at most one request in progress. Also the callbacks of its parser."""

    def __init__(self, lost: Callable[["Connection"], None]) -> None:
        self.reused = False
        self.idle_since_s = 0.0
        self._lost = lost
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._expect_answer()

    @property
    def is_usable(self) -> bool:
        return not self._transport.is_closing()

    async def request(self, data: bytes) -> Answer:
        """Send a whole request and wait for its answer. Raises AnswerLostError, or TimeoutError."""
        loop = asyncio.get_running_loop()
        self._expect_answer()
        self._answer = loop.create_future()
        timer = loop.call_later(ANSWER_S, self._fail, TimeoutError(f"no answer in {ANSWER_S:g} s"))
        self._transport.write(data)
        try:
            return await self._answer
        except BaseException:
            self.close()  # a late answer must not be taken for that of the next request
            raise
        finally:
            timer.cancel()
            self._answer = None

    def close(self) -> None:
        self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        try:
            if self._answer is None:
                raise ValueError("an answer without a request")
            self._parser.feed_data(data)
        except Exception as error:
            self._fail(AnswerLostError(f"the answer is not HTTP: {error}", begun=True))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._until_close and error is None:
            self.on_message_complete()
        else:
            reason = str(error) if error else "the server closed the connection"
            self._fail(AnswerLostError(reason, begun=self._begun))
        self._lost(self)

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        has_end = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._until_close = not has_end and self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the next one has its own headers
            self._headers.clear()
            return
        self._until_close = False
        if not self._parser.should_keep_alive():
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, self._headers, b"".join(self._body)))

    def _expect_answer(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._begun = self._until_close = False

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Connections:
    """The connections of one process, by address. `opened` is called with the peer of each new one."""

    def __init__(self, opened: Callable[[str], None] = lambda peer: None) -> None:
        self._opened = opened
        self._idle: dict[str, deque[Connection]] = {}
        self._limits: dict[str, asyncio.Semaphore] = {}
        self._all: set[Connection] = set()
        self._lookups: dict[str, asyncio.Task[str]] = {}

    async def request(
        self, peer: str, address: str, method: str, target: str,
        headers: Mapping[str, str], content: bytes | None = None,
    ) -> Answer:  # fmt: skip
        """Send one request to the instance `peer` at `address` (host:port) and return its answer.

        Raises NotConnectedError if nothing was sent, AnswerLostError or TimeoutError if the request may have
        arrived. A request that may be repeated is sent again if a kept connection ended without an answer.
        """
        data = encode_request(address, method, target, headers, content)
        limit = self._limits.get(address)
        if limit is None:
            limit = self._limits[address] = asyncio.Semaphore(CONNECTIONS_PER_HOST)
        async with limit:
            connection = self._take_idle(address) or await self._connect(peer, address)
            try:
                answer = await connection.request(data)
            except AnswerLostError as error:
                if not connection.reused or error.begun or method not in REPEATABLE:
                    raise
                connection = await self._connect(peer, address)
                answer = await connection.request(data)
            if connection.is_usable:
                connection.reused = True
                connection.idle_since_s = asyncio.get_running_loop().time()
                self._idle.setdefault(address, deque()).append(connection)
            return answer

    async def close(self) -> None:
        """Close all connections. Requests in progress fail."""
        for connection in list(self._all):
            connection.close()

    def _take_idle(self, address: str) -> Connection | None:
        """The connection that was used last, after closing those that were idle for too long."""
        idle = self._idle.get(address)
        if not idle:
            return None
        oldest_s = asyncio.get_running_loop().time() - IDLE_S
        while idle and (idle[0].idle_since_s < oldest_s or not idle[0].is_usable):
            idle.popleft().close()
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                return connection
        return None

    async def _connect(self, peer: str, address: str) -> Connection:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_S):
                ip = await self._look_up(host.strip("[]"))
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._all.discard), ip, int(port)
                )
        except OSError as error:  # TimeoutError is one
            raise NotConnectedError(
                f"cannot connect to {address}: {str(error) or 'timed out'}"
            ) from error
        self._all.add(connection)
        self._opened(peer)
        return connection

    async def _look_up(self, host: str) -> str:
        """The host's IP address. A look-up without an answer blocks a thread for 10 s: one at a time per host."""
        if _is_ip(host):
            return host
        task = self._lookups.get(host)
        if task is None:
            task = self._lookups[host] = asyncio.create_task(_resolve(host))
            task.add_done_callback(lambda task: self._looked_up(host, task))
        return await asyncio.shield(task)

    def _looked_up(self, host: str, task: asyncio.Task[str]) -> None:
        del self._lookups[host]
        if not task.cancelled():
            task.exception()  # asyncio logs an error that no caller has waited for


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _resolve(host: str) -> str:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def encode_request(
    address: str, method: str, target: str, headers: Mapping[str, str], content: bytes | None
) -> bytes:
    """The request as bytes. Raises ValueError for a header that would end the line early."""
    if not PLAIN_TARGET.fullmatch(target):
        target = quote(target, safe="/?&=%:@!$'()*+,;~")
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {address}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if content is not None or method != "GET":
        lines.append(f"content-length: {len(content or b'')}\r\n")
    head = "".join(lines) + "\r\n"
    if head.count("\n") != len(lines) + 2 or head.count("\r") != len(lines) + 2:
        raise ValueError("a header contains a line break")
    return head.encode() + (content or b"")


def target_of(path: str, params: object) -> str:
    """The path with its query, from a mapping or from pairs."""
    return f"{path}?{urlencode(params)}" if params else path  # type: ignore[arg-type]
