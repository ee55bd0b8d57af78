"""Checks the token and the Host of a request: a web page in a user's browser can send requests too."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.httpd import is_own_host
from lab.recorder.api.answers import json_answer
from lab.recorder.errors import RequestError


class OwnHostOnly:
    """Refuses a request for another host: a page that leads its own name to loopback could read the logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not is_own_host(Headers(scope=scope).get("host", "")):
            app = json_answer({"error": "the recorder is at 127.0.0.1 or localhost"}, 421)
        await app(scope, receive, send)


def authorize(request: Request, token: str, name: str) -> None:
    """Raises RequestError 401 for a request without `token`, 503 while lab.json has none called `name`."""
    if not token:
        raise RequestError(503, f"there is no {name} yet: the lab has not written lab.json")
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise RequestError(401, f"send `Authorization: Bearer <{name} of lab.json>`")
