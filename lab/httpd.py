"""A small HTTP/1.1 server on loopback for the lab's own pages and APIs: one request per connection.

A web framework would use more memory than the whole supervisor.
"""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024
REQUEST_S = 10.0


class HttpError(Exception):
    """The answer has this status and the body `{"error": message}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} if empty. Raises HttpError 400."""
        try:
            content = json.loads(self.body or b"{}")
        except ValueError as error:
            raise HttpError(400, f"the body is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise HttpError(400, "the body must be a JSON object")
        return content

    def authorize(self, token: str) -> None:
        """Raises HttpError 401 unless the request carries `Authorization: Bearer <token>`."""
        given = self.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HttpError(401, "send `Authorization: Bearer <token of lab.json>`")


@dataclass(frozen=True)
class Response:
    """One answer."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def is_own_host(host: str) -> bool:
    """Whether a Host header can name this machine or a container: an IP address, or a name without a dot.

    A web page can let its own name lead to 127.0.0.1 (DNS rebinding) and then read what listens there. The
    browser sends that name, which has a dot.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return "." not in name or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def json_response(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content).encode() + b"\n", status=status)


async def serve(handler: Handler, port: int, host: str = "127.0.0.1") -> asyncio.Server:
    """Listen on the port and answer requests. Raises OSError if the port is taken."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            response = await _answer(handler, reader)
            if response is not None:
                writer.write(_encoded(response))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(connected, host, port, limit=HEAD_BYTES_MAX)


async def _answer(handler: Handler, reader: asyncio.StreamReader) -> Response | None:
    try:
        async with asyncio.timeout(REQUEST_S):
            request = await _read(reader)
        return await handler(request) if request else None
    except HttpError as error:
        return json_response({"error": str(error)}, error.status)
    except (TimeoutError, asyncio.IncompleteReadError):
        return None
    except Exception as error:
        return json_response({"error": f"{type(error).__name__}: {error}"}, 500)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise HttpError(431, "the headers are too large") from None
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpError(400, "this is not HTTP/1.1")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    if not is_own_host(headers.get("host", "")):
        raise HttpError(421, "this page is at 127.0.0.1 or localhost")
    length = headers.get("content-length", "0")
    if not length.isdigit() or "transfer-encoding" in headers:
        raise HttpError(411, "send a Content-Length")
    if int(length) > BODY_BYTES_MAX:
        raise HttpError(413, f"a body may have up to {BODY_BYTES_MAX} bytes")
    body = await reader.readexactly(int(length))
    url = urlsplit(parts[1])
    return Request(parts[0], unquote(url.path), dict(parse_qsl(url.query)), headers, body)


def _encoded(response: Response) -> bytes:
    head = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    head += [f"Content-Type: {response.content_type}", f"Content-Length: {len(response.body)}"]
    head += ["Connection: close", "Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
    head += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + response.body
