"""Requests to the shop as a shopper's browser sends them: one request is one attempt and one row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab.load import facts
from lab.load.outcome import attempt_outcome, broken_outcome
from lab.load.request_log import Attempt, RequestLog, now_s


@dataclass(frozen=True)
class Answer:
    """The answer; `status` 0: none. `outcome`: `ok`, `fail` or `unknown` (outcome.py)."""

    status: int
    body: Any
    outcome: str
    error: str | None

    @property
    def order_id(self) -> str | None:
        """The id of the order in the answer, or of the order that a refusal names."""
        if not isinstance(self.body, dict):
            return None
        found = self.body.get("order_id") or (self.body.get("id") if "lines" in self.body else None)
        return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Request:
    """One attempt. `path` is the real one, `route` its template (`/api/orders/{id}`).

    `expected` is the refusal that the request must get; then that status is the proper answer.
    `asked` are facts for an auditor beside those of the body.
    """

    method: str
    path: str
    route: str
    body: Any = None
    order_id: str | None = None
    logical_id: str = ""
    key: str | None = None
    attempt_no: int = 1
    expected: int | None = None
    asked: dict[str, Any] | None = None


class Storefront:
    """Sends through a Locust FastHttpSession and records in Locust's statistics and the request log."""

    def __init__(self, client: Any, log: RequestLog) -> None:
        self._client = client
        self.log = log

    def send(
        self, request: Request, session: str, intended_s: float, token: str | None = None
    ) -> Answer:
        """One attempt of the shopper `session`. Errors of shop and network are in the answer."""
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        if request.key:
            headers["Idempotency-Key"] = request.key
        if token:
            headers["Authorization"] = f"Bearer {token}"
        started_s = now_s()
        with self._client.request(
            request.method,
            request.path,
            name=request.route,
            data=None if request.body is None else json.dumps(request.body),
            headers=headers,
            catch_response=True,
            allow_redirects=False,
        ) as response:
            ended_s = now_s()
            answer = _read(request, response)
            # Locust's own figures count from the intended start too: coordinated omission
            response.request_meta["response_time"] = 1000 * (ended_s - intended_s)
            if answer.outcome == "ok":
                response.success()
            else:
                response.failure(answer.error or answer.outcome)
        self.log.record(
            Attempt(
                session=session,
                route=f"{request.method} {request.route}",
                method=request.method,
                logical_id=request.logical_id,
                intended_start_s=intended_s,
                attempt_no=request.attempt_no,
                actual_start_s=started_s,
                end_s=ended_s,
                status=answer.status,
                outcome=answer.outcome,
                error=answer.error,
                request_id=_lower(response.headers).get("x-request-id"),
                idempotency_key=request.key,
                order_id=request.order_id or answer.order_id,
                bytes=len(response.content or b""),
                version=answer.body.get("version") if isinstance(answer.body, dict) else None,
                expected=request.expected,
                asked=(facts.asked(request.body) or {}) | (request.asked or {}) or None,
                seen=facts.seen(answer.body, "idempotency-replayed" in _lower(response.headers)),
            )
        )
        return answer


def _read(request: Request, response: Any) -> Answer:
    broken = getattr(response, "error", None)
    status = int(response.status_code or 0)
    if status == 0 or (broken and status < 400) or (broken and not response.content):
        error = broken or response.request_meta.get("exception") or OSError("no answer")
        return Answer(0, None, broken_outcome(error), _named(error))
    headers = _lower(response.headers)
    try:
        body = json.loads(response.content or b"null")
    except ValueError:
        body = None
    outcome = attempt_outcome(request.method, status, body, headers)
    if status == request.expected:
        outcome = "ok"
    if status < 400 and body is None:
        # a 2xx without JSON is no proper answer; the operation may have happened
        return Answer(status, None, "unknown", "the answer is no JSON")
    return Answer(status, body, outcome, _problem(status, body))


def _problem(status: int, body: Any) -> str | None:
    """A refusal's or failure's short name: the last word of its problem type, else the status."""
    if status < 400:
        return None
    kind = str(body.get("type", "")) if isinstance(body, dict) else ""
    return kind.rpartition(":")[2] or f"status {status}"


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in (headers or {}).items()}


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
