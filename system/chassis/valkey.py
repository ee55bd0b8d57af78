"""A client of Valkey for the cache: one connection, on which the commands of all callers follow each other.

redis-py takes a connection from a pool, with locks and timers, for each command.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit


class ValkeyError(Exception):
    """Valkey cannot be reached, does not answer in time, or refuses a command."""


class Valkey:
    """Connects at the first use, and again after a failure. A command waits at most `answer_s` for its answer."""

    def __init__(self, url: str, answer_s: float) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 6379
        self._greeting: list[tuple[bytes, ...]] = []
        if parts.password:
            user, password = unquote(parts.username or "default"), unquote(parts.password)
            self._greeting.append((b"AUTH", user.encode(), password.encode()))
        if (database := parts.path.strip("/")) not in ("", "0"):
            self._greeting.append((b"SELECT", database.encode()))
        self._answer_s = answer_s
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def run(self, *command: bytes) -> Any:
        """The answer to one command: bytes, int, a list of these, or None. Raises ValkeyError."""
        return (await self.run_all(command))[0]

    async def run_all(self, *commands: Sequence[bytes]) -> list[Any]:
        """The answers to commands that are sent together. Raises ValkeyError."""
        connection = self._connection
        if connection is None or connection.lost:
            connection = await self._connect()
        return await connection.send(commands)

    async def _connect(self) -> "_Connection":
        async with self._connecting:
            if self._connection is not None and not self._connection.lost:
                return self._connection
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._answer_s):
                    _, made = await loop.create_connection(
                        lambda: _Connection(self._answer_s), *self._address
                    )
            except (OSError, TimeoutError) as error:
                raise ValkeyError(f"no connection: {error or type(error).__name__}") from error
            if self._greeting:
                try:
                    await made.send(self._greeting)
                except BaseException:
                    made.lose("the greeting failed")
                    raise
            self._connection = made
            return made


class _Connection(asyncio.Protocol):
    """Answers come in the order of the commands."""

    def __init__(self, answer_s: float) -> None:
        self.lost = False
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._received = b""
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()  # since when
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        if self.lost:
            raise ValkeyError("the connection is lost")
        now = self._loop.time()
        answers = [self._loop.create_future() for _ in commands]
        self._waiting.extend((now, answer) for answer in answers)
        self._transport.write(b"".join(map(_encoded, commands)))
        if self._timer is None:
            self._timer = self._loop.call_later(self._answer_s, self._check)
        found = [await answer for answer in answers]
        for each in found:
            if isinstance(each, ValkeyError):
                raise each
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class

    def data_received(self, data: bytes) -> None:
        data = self._received + data if self._received else data
        at = 0
        while at < len(data):
            try:
                answer, end = _decoded(data, at)
            except ValueError as error:
                self.lose(f"not an answer: {error}")
                return
            if end == 0:
                break
            at = end
            if not self._waiting:
                self.lose("an answer without a command")
                return
            _, future = self._waiting.popleft()
            if not future.done():  # its caller may be cancelled
                future.set_result(answer)
        self._received = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        self.lose(f"connection lost: {error or 'closed by the server'}")

    def _check(self) -> None:
        """One timer for all commands: it looks at the oldest one."""
        self._timer = None
        if self._waiting:
            left_s = self._waiting[0][0] + self._answer_s - self._loop.time()
            if left_s <= 0:
                self.lose(f"no answer within {self._answer_s:g} s")
            else:
                self._timer = self._loop.call_later(left_s, self._check)

    def lose(self, reason: str) -> None:
        """Give the connection up: an answer that comes later would be taken for that of another command."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(ValkeyError(reason))


def _encoded(command: Sequence[bytes]) -> bytes:
    parts = (b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
    return b"*%d\r\n" % len(command) + b"".join(parts)


def _decoded(data: bytes, at: int) -> tuple[Any, int]:
    """The answer at this place (RESP2) and where it ends, 0 if it is not complete. Raises ValueError."""
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None, 0
    kind, text, end = data[at : at + 1], data[at + 1 : line_end], line_end + 2
    if kind == b"$":
        size = int(text)
        if size < 0:
            return None, end
        return (
            (data[end : end + size], end + size + 2) if len(data) >= end + size + 2 else (None, 0)
        )
    if kind == b":":
        return int(text), end
    if kind == b"+":
        return text, end
    if kind == b"-":
        return ValkeyError(text.decode(errors="replace")), end
    if kind == b"*":
        items = []
        for _ in range(int(text)):
            item, end = _decoded(data, end)
            if end == 0:
                return None, 0
            items.append(item)
        return items, end
    raise ValueError(f"unknown type {kind!r}")
