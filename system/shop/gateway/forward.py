"""Forwards a request and returns the answer: bodies unchanged, only listed headers."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response

from chassis.http import context, response
from chassis.http.client_limits import ClientLimits
from chassis.http.problems import ProblemError
from chassis.service import Service
from shop.gateway.admission import AdmissionControl
from shop.gateway.routes import Route

# only these pass: hop-by-hop headers, cookies and server banners are dropped
ANSWER_HEADERS = (
    "content-type", "retry-after", "www-authenticate", "idempotency-replayed", "cache-control", "etag",
)  # fmt: skip
STALE_HEADER = "breakwater-stale"  # age in seconds of an old answer that replaces a failed one
PATH_VALUE = re.compile(r"[A-Za-z0-9_-]{1,64}")

Endpoint = Callable[[Request], Awaitable[Response]]


class NothingHereError(ProblemError):
    """A path parameter cannot be an id."""

    status = 404


def path_values(request: Request) -> dict[str, str]:
    """The path parameters, safe to put into another path. Raises NothingHereError."""
    for value in request.path_params.values():
        if not PATH_VALUE.fullmatch(value):
            raise NothingHereError(f"{value[:64]!r} is not an id")
    return request.path_params


def customer_address(request: Request) -> str:
    """The address of the customer as nginx saw it. nginx replaces the header that a client sends."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "unknown")


def set_deadline(seconds: float) -> None:
    """Set the request's deadline unless it has an earlier one. Calls send it on as their budget."""
    current = context.current.get()
    if current is None:
        return
    own = time.monotonic() + seconds
    current.deadline = own if current.deadline is None else min(current.deadline, own)


def public_response(answer: response.Response) -> Response:
    """A service's answer as the public one."""
    headers = {name: answer.headers[name] for name in ANSWER_HEADERS if name in answer.headers}
    if answer.stale_s is not None:
        headers[STALE_HEADER] = f"{answer.stale_s:.1f}"
    return Response(answer.content, answer.status, headers)


class Forwarder:
    """The clients and deadlines of all routes, created once at start-up."""

    def __init__(self, service: Service, routes: tuple[Route, ...]) -> None:
        number = service.settings.number
        self._clients = {route.service: service.client(route.service) for route in routes}
        self._deadlines_s = {
            route.name: number(f"DEADLINE_{route.name.upper()}_S", route.deadline_s)
            for route in routes
        }

    async def forward(self, route: Route, request: Request) -> Response:
        """Forward one request to the route's service. Raises CallError if no answer came."""
        set_deadline(self._deadlines_s[route.name])
        values = path_values(request)
        headers: Mapping[str, str] = {}
        content = None
        if route.method != "GET":
            content = await request.body() or None  # at most 64 KiB: the chassis refuses more
            headers = {"content-type": request.headers.get("content-type", "application/json")}
        path = route.service_path.format(**values) if values else route.service_path
        answer = await self._clients[route.service].request(
            route.method,
            path,
            params=request.query_params.multi_items() or None,
            content=content,
            headers=headers,
            key=request.headers["idempotency-key"] if route.key else None,
            token=getattr(request.state, "token", None),
            route=route.service_path,
            idempotent=route.idempotent,
            stale_key=f"{path}?{request.url.query}" if route.shared else "",
        )
        return public_response(answer)


def endpoint(route: Route) -> Endpoint:
    """The function that FastAPI calls for this route."""

    async def forward(request: Request) -> Response:
        forwarder: Forwarder = request.app.state.forwarder
        admission: AdmissionControl = request.app.state.admission
        return await admission.admit(route.priority, lambda: forwarder.forward(route, request))

    async def forward_guess(request: Request) -> Response:
        refused: ClientLimits = request.app.state.refused
        address = customer_address(request)
        refused.check(address)
        answer = await forward(request)
        if answer.status_code == 401:
            refused.take(address)
        return answer

    return forward_guess if route.guessable else forward
