"""Checks the token of a request: a web page in a user's browser can send requests too, but knows no token."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from lab.recorder.errors import RequestError


def authorize(request: Request, token: str, name: str) -> None:
    """Raises RequestError 401 for a request without `token`, 503 while lab.json has none called `name`."""
    if not token:
        raise RequestError(503, f"there is no {name} yet: the lab has not written lab.json")
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise RequestError(401, f"send `Authorization: Bearer <{name} of lab.json>`")
