"""The answer of another service, and the check that turns an error answer into an exception."""

import json
import time
from collections.abc import Mapping
from typing import Any

from chassis.resilience.errors import CallFailedError, OverloadedError


class Response:
    """An answer with a status below 500. `body` is the parsed JSON.

    `stale_s` is the age in seconds of an answer from a fallback, None for a fresh one.
    """

    __slots__ = ("_body", "content", "headers", "received_at", "stale_s", "status")

    def __init__(
        self, status: int, content: bytes, headers: Mapping[str, str], stale_s: float | None = None
    ) -> None:
        self.status = status
        self.content = content
        self.headers = headers
        self.stale_s = stale_s
        self.received_at = time.monotonic()
        self._body: Any = None

    def parse(self) -> None:
        """Parse the content as JSON. Raises ValueError."""
        self._body = json.loads(self.content)

    @property
    def body(self) -> Any:
        """The content as JSON, None without content. Raises ValueError."""
        if self._body is None and self.content:
            self.parse()
        return self._body


def checked(callee: str, response: Response, *, safe: bool) -> Response:
    """The answer, with its JSON parsed. Raises CallFailedError for 429, 500 and above, and damaged JSON.

    429, 502, 503 and 504 are retryable. For a `safe` method 500 is too, since another instance may not
    have the problem. The work may have happened, unless the answer has `definite: true` or is a 429.
    Damaged JSON is indefinite: the answer was damaged on its way, so the outcome is unknown.
    """
    if response.status >= 500 or response.status == 429:
        raise _failure(callee, response, safe=safe)
    if "json" in response.headers.get("content-type", ""):
        try:
            response.parse()
        except ValueError as error:
            raise CallFailedError(
                f"{callee} answered {response.status} with a damaged body: {error}",
                definite=False,
                retryable=True,
            ) from None
    return response


def _failure(callee: str, response: Response, *, safe: bool) -> CallFailedError:
    try:
        problem = response.body
    except ValueError:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    retry_after = response.headers.get("retry-after", "")
    definite = response.status == 429 or problem.get("definite") is True
    # alive, and it asks for a pause: deliberate shedding is no failure of the callee
    shed = response.status == 429 or (response.status == 503 and definite and retry_after)
    return (OverloadedError if shed else CallFailedError)(
        f"{callee} answered {response.status}: {problem.get('detail', '')}",
        status=response.status,
        definite=definite,
        retryable=response.status in (429, 502, 503, 504) or (safe and response.status == 500),
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )
