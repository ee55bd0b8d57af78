"""The one ASGI middleware of every service: deadline, body limit, span, RED metrics, inbound faults."""

import time

from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.edge_policies import event_sink
from chassis.faults import Exchange, FaultAbortedError, Injector
from chassis.faults.altering import altered
from chassis.http import context
from chassis.http.direct_routes import DirectRoutes
from chassis.http.problems import internal_error, problem_response
from chassis.resilience.deadline import BUDGET_HEADER, from_header
from chassis.resilience.events import Event
from chassis.telemetry import signals
from chassis.telemetry.histogram import Series
from chassis.telemetry.metrics import exemplar_trace_id

BODY_BYTES_MAX = 64 * 1024
TOO_LARGE = f"at most {BODY_BYTES_MAX} bytes"
BUDGET = BUDGET_HEADER.lower()
UNOBSERVED = frozenset({"/health", "/ready", "/metrics"})
LAB = "/_lab/"


class RequestMiddleware:
    """Handles each HTTP request around the app.

    Pure ASGI: Starlette's `BaseHTTPMiddleware` costs more time per request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._routes: DirectRoutes | None = None  # created when the app has all its routes
        self._series_by_key: dict[tuple[str, str, int], Series] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path in UNOBSERVED or path.startswith(LAB):
            await self.app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        app = scope["app"]
        service = app.state.service
        if self._routes is None:
            self._routes = DirectRoutes(app, self.app)
        request_context = context.RequestContext(
            deadline=_deadline(headers.get(BUDGET, "")),
            caller=headers.get(context.CALLER_HEADER, ""),
            lab=headers.get(context.LAB_HEADER, "") if service.settings.lab else "",
        )
        token = context.current.set(request_context)
        started = time.perf_counter()
        status, answered = 500, False
        method = scope["method"]
        span = signals.tracer().start_span(
            method, context=signals.propagator.extract(headers), kind=SpanKind.SERVER
        )
        signals.ACTIVE.inc()

        async def send_and_see_status(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
            await send(message)

        try:
            with signals.CurrentSpan(span):
                try:
                    await self._handle(
                        scope,
                        receive,
                        send_and_see_status,
                        headers,
                        request_context,
                        service.injector,
                    )
                except Exception as error:
                    if answered:
                        raise
                    # answered here: the server closes the connection of an error that reaches it, and
                    # the client's next request on it would be lost
                    response = internal_error(Request(scope), error)
                    await response(scope, receive, send_and_see_status)
        finally:
            signals.ACTIVE.dec()
            context.current.reset(token)
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - started
            self._series(method, route, status).observe(seconds, exemplar_trace_id(span))
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {
                    "http.request.method": method, "http.route": route, "url.scheme": "http",
                    "url.path": scope["path"], "http.response.status_code": status,
                    **({"breakwater.caller": request_context.caller} if request_context.caller else {}),
                }
            )  # fmt: skip
            if status >= 500:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
            span.end()

    async def _handle(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: dict[str, str],
        request_context: context.RequestContext,
        injector: Injector,
    ) -> None:
        """Reject a request that is too late or too large, then run the app with the lab's faults."""
        length = headers.get("content-length")
        if length is None:
            receive = _with_limit(receive)
        elif not length.isdigit() or int(length) > BODY_BYTES_MAX:
            response = problem_response(
                Request(scope), 413, "body-too-large", "Body too large", TOO_LARGE
            )
            await response(scope, receive, send)
            return
        if request_context.deadline is not None and request_context.deadline <= time.monotonic():
            # the caller no longer waits for the answer. The caller is in the span only: any client
            # can set that header, so it must not label a metric
            edge = f"any->{scope['app'].state.service.settings.service}"
            event_sink.record(
                Event(time.monotonic(), edge, "deadline", "rejection", reason="expired")
            )
            response = problem_response(
                Request(scope),
                504,
                "deadline-exceeded",
                "Deadline exceeded",
                "the deadline passed before the work began",
                extra={"definite": True},
            )
            await response(scope, receive, send)
            return

        routes = self._routes
        assert routes is not None
        if not injector.active:
            await routes(scope, receive, send, headers)
            return
        exchange = Exchange(
            point="inbound",
            method=scope["method"],
            route=scope["path"],
            caller=request_context.caller,
            callee=scope["app"].state.service.settings.service,
        )

        async def proceed(discard: bool) -> None:
            outlet = _discard if discard else altered(send, exchange)
            await routes(scope, receive, outlet, headers)

        try:
            await injector.run(exchange, proceed)
        except FaultAbortedError as abort:
            response = problem_response(
                Request(scope),
                abort.status,
                "injected-fault",
                "Injected fault",
                f"fault {abort.fault_id}",
            )
            await response(scope, receive, send)

    def _series(self, method: str, route: str, status: int) -> Series:
        key = (method, route, status)
        series = self._series_by_key.get(key)
        if series is None:
            series = self._series_by_key[key] = signals.SERVER_SECONDS.labels(
                method, route, str(status)
            )
        return series


def _with_limit(receive: Receive) -> Receive:
    """Limit a body without a Content-Length header."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_BYTES_MAX:
            raise HTTPException(413, "Body too large")
        return message

    return counted


async def _discard(_: Message) -> None:
    """Discard the answer of an aborted request."""


def _deadline(budget_ms: str) -> float | None:
    """The deadline that came with the request, or None for a missing or malformed header."""
    try:
        return from_header(budget_ms, time.monotonic())
    except ValueError:
        return None
