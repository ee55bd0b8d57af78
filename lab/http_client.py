"""One blocking HTTP exchange with the lab or the shop; standard library only, so that it starts fast."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """`body` is the answer's JSON, else its text; `seconds` is the time until it was read completely."""

    status: int
    body: Any
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)


class NoReplyError(Exception):
    """No answer: the connection was refused or lost, or the timeout expired."""


def exchange(
    method: str,
    url: str,
    *,
    body: Any = None,
    token: str = "",
    headers: dict[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Reply:
    """Send one request on a new connection. Raises NoReplyError."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    sent = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s
    )
    started = time.perf_counter()
    try:
        payload = None if body is None else json.dumps(body).encode()
        connection.request(method, path, payload, sent)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        seconds = time.perf_counter() - started
        reason = str(error) or type(error).__name__
        raise NoReplyError(f"{method} {url}: {reason} after {seconds:.2f} s") from error
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, _parsed(text), time.perf_counter() - started, found)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode("utf-8", "replace")
