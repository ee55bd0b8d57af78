"""Readiness checks: one small request for each kind of listener, repeated until it succeeds."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

INTERVAL_S = 0.02
ANSWER_S = 2.0
ReadinessCheck = Callable[[], Awaitable[bool]]


async def wait(check: ReadinessCheck, timeout_s: float) -> bool:
    """Repeat the check until it succeeds; False if it did not within `timeout_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    while not await check():
        if loop.time() >= give_up:
            return False
        await asyncio.sleep(INTERVAL_S)
    return True


def postgres(port: int) -> ReadinessCheck:
    """Sends a login request: a password challenge means ready; an error means starting or in recovery."""
    names = b"user\0postgres\0database\0postgres\0\0"
    startup = struct.pack("!ii", 8 + len(names), 196608) + names

    async def check() -> bool:
        return (await _answer(port, startup, 1)) == b"R"

    return check


def valkey(port: int) -> ReadinessCheck:
    """`PING` without a password is refused for that reason: it is ready."""

    async def check() -> bool:
        return (await _answer(port, b"PING\r\n", 7)) == b"-NOAUTH"

    return check


def nats(port: int) -> ReadinessCheck:
    """It speaks first, as soon as its streams are there."""

    async def check() -> bool:
        return (await _answer(port, b"", 5)) == b"INFO "

    return check


def fluentd(port: int) -> ReadinessCheck:
    """A message without events is acknowledged. Forward Protocol Specification v1, "Response"."""
    # msgpack: ["lab", [], {"chunk": "none"}], answered {"ack": "none"}
    message = b"\x93\xa3lab\x90\x81\xa5chunk\xa4none"

    async def check() -> bool:
        return (await _answer(port, message, 10)) == b"\x81\xa3ack\xa4none"

    return check


def http(port: int, path: str) -> ReadinessCheck:
    """`GET path` is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()

    async def check() -> bool:
        line = await _answer(port, request, 12)
        return line is not None and line.startswith(b"HTTP/1.") and line[9:] == b"200"

    return check


async def _answer(port: int, request: bytes, answer_bytes: int) -> bytes | None:
    """The first bytes of the answer to `request`, None without one."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return await reader.readexactly(answer_bytes)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
