"""Passing a request on and its answer back, bytes as they came; headers only those that are known."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response

from chassis.http import context, response
from chassis.http.problems import ProblemError
from chassis.service import Service
from shop.gateway.admission import AdmissionControl
from shop.gateway.routes import Route

# lists of what passes: hop-by-hop headers, cookies and server banners stay out by not being named
ANSWER_HEADERS = (
    "content-type", "retry-after", "www-authenticate", "idempotency-replayed", "cache-control", "etag",
)  # fmt: skip
STALE_HEADER = (
    "breakwater-stale"  # seconds since this answer was true, where no fresh one could be had
)
PATH_VALUE = re.compile(r"[A-Za-z0-9_-]{1,64}")

Endpoint = Callable[[Request], Awaitable[Response]]


class NothingHereError(ProblemError):
    """The path names nothing that could exist."""

    status = 404


def path_values(request: Request) -> dict[str, str]:
    """The path's parameters, safe to put into another path. Raises NothingHereError."""
    for value in request.path_params.values():
        if not PATH_VALUE.fullmatch(value):
            raise NothingHereError(f"{value[:64]!r} is no id")
    return request.path_params


def set_deadline(seconds: float) -> None:
    """The request's deadline from here on; an earlier one stays. The client sends it as the budget."""
    current = context.current.get()
    if current is None:
        return
    own = time.monotonic() + seconds
    current.deadline = own if current.deadline is None else min(current.deadline, own)


def passed_back(answer: response.Response) -> Response:
    """The inner answer as the public one."""
    headers = {name: answer.headers[name] for name in ANSWER_HEADERS if name in answer.headers}
    if answer.stale_s is not None:
        headers[STALE_HEADER] = f"{answer.stale_s:.1f}"
    return Response(answer.content, answer.status, headers)


class Forwarder:
    """Knows the clients and deadlines of all routes; made once at start-up."""

    def __init__(self, service: Service, routes: tuple[Route, ...]) -> None:
        number = service.settings.number
        self._clients = {route.service: service.client(route.service) for route in routes}
        self._deadlines_s = {
            route.name: number(f"DEADLINE_{route.name.upper()}_S", route.deadline_s)
            for route in routes
        }

    async def forward(self, route: Route, request: Request) -> Response:
        """One public request, answered from inside. Raises CallError if nobody could answer."""
        set_deadline(self._deadlines_s[route.name])
        values = path_values(request)
        headers: Mapping[str, str] = {}
        content = None
        if route.method != "GET":
            content = await request.body() or None  # at most 64 KiB: the chassis refuses more
            headers = {"content-type": request.headers.get("content-type", "application/json")}
        path = route.inner.format(**values) if values else route.inner
        answer = await self._clients[route.service].request(
            route.method,
            path,
            params=request.query_params.multi_items() or None,
            content=content,
            headers=headers,
            key=request.headers["idempotency-key"] if route.key else None,
            token=getattr(request.state, "token", None),
            route=route.inner,
            idempotent=route.repeatable,
            stale_key=f"{path}?{request.url.query}" if route.public else "",
        )
        return passed_back(answer)


def endpoint(route: Route) -> Endpoint:
    """What FastAPI calls for this route."""

    async def forward(request: Request) -> Response:
        forwarder: Forwarder = request.app.state.forwarder
        admission: AdmissionControl = request.app.state.admission
        return await admission.admit(route.priority, lambda: forwarder.forward(route, request))

    return forward
