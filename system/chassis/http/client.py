"""Calls to other services: discovery, load balancing, resilience policies, tracing, deadline propagation."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypedDict, Unpack

from opentelemetry.trace import SpanKind, Status, StatusCode

from chassis.edge_policies.configuration import kinds_off_by_header
from chassis.edge_policies.protection import EdgeProtection
from chassis.faults import Exchange, FaultAbortedError, Injector
from chassis.http import context
from chassis.http.auth import ServiceTokens
from chassis.http.balancer import Balancer, CallCopies
from chassis.http.connections import Connections, NotConnectedError
from chassis.http.response import Response, checked
from chassis.registry import Instance
from chassis.resilience.deadline import BUDGET_HEADER, sooner, to_header
from chassis.resilience.errors import CallFailedError, label
from chassis.resilience.policy import Call
from chassis.resilience.timeout import Timeout
from chassis.telemetry import signals
from chassis.telemetry.metrics import exemplar_trace_id

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class NoInstanceError(CallFailedError):
    """The registry has no live instance of the service."""

    definite = True
    retryable = True


class RequestOptions(TypedDict, total=False):
    """The keyword arguments of a request.

    `key` is the Idempotency-Key. `route` is the path template, for labels. `timeout_s` shortens the
    deadline. `stale_key` identifies the resource and all parameters: if the edge has a fallback, the
    last good answer with this key replaces a failed call. `idempotent` defaults to: a safe method,
    or a request with a key. `token` is a user's bearer token, in place of the service's own.
    """

    params: Any
    json: Any
    content: bytes | None
    headers: Mapping[str, str]
    key: str | None
    token: str | None
    route: str
    timeout_s: float | None
    idempotent: bool | None
    stale_key: str


def open_connections() -> Connections:
    """The connections of the process. Each new one is counted under its peer's instance."""
    return Connections(lambda peer: signals.CONNECTIONS.labels(peer).inc())


class ServiceClient:
    """Calls one other service over one edge of the topology."""

    def __init__(
        self,
        caller: str,
        callee: str,
        connections: Connections,
        instances: Callable[[str], list[Instance]],
        protection: EdgeProtection,
        tokens: ServiceTokens,
        injector: Injector,
        rng: Random | None = None,
    ) -> None:
        self.edge = f"{caller}->{callee}"
        self.callee = callee
        self.protection = protection
        self._caller = caller
        self._connections = connections
        self._instances = instances
        self._tokens = tokens
        self._injector = injector
        self._balancer = Balancer(protection.ejection, rng or Random())

    async def get(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Unpack[RequestOptions]) -> Response:
        """`request` with POST."""
        return await self.request("POST", path, **options)

    async def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Response:
        """Make one logical call, with its retries and hedges.

        Returns answers below 500 except 429. Raises CallError for all others.
        """
        key, idempotent = options.get("key"), options.get("idempotent")
        sent = dict(options.get("headers") or {})
        token = options.get("token") or self._tokens.mint(self.callee)
        sent["authorization"] = f"Bearer {token}"
        sent[context.CALLER_HEADER] = self._caller
        if key is not None:
            sent["idempotency-key"] = key
        request_context = context.current.get()
        deadline = request_context.deadline if request_context else None
        if (timeout_s := options.get("timeout_s")) is not None:
            deadline = sooner(deadline, time.monotonic() + timeout_s)
        disabled = None
        if request_context and request_context.lab:
            sent[context.LAB_HEADER] = request_context.lab
            disabled = kinds_off_by_header(context.lab_options(request_context.lab))
        content = options.get("content")
        if (body := options.get("json")) is not None:
            content = _encode(body)
            sent["content-type"] = "application/json"
        call = Call(
            edge=self.edge,
            operation=options.get("route") or path,
            idempotent=idempotent
            if idempotent is not None
            else method in SAFE_METHODS or key is not None,
            deadline=deadline,
            key=options.get("stale_key", ""),
            disabled=disabled,
        )
        request = _Request(method, path, options.get("params"), content, sent, CallCopies())
        started = time.monotonic()
        answer = await self.protection.run(partial(self._attempt, request), call)
        if answer.received_at < started:  # the fallback's copy of an earlier answer
            age_s = started - answer.received_at
            return Response(answer.status, answer.content, answer.headers, stale_s=age_s)
        return answer

    async def _attempt(self, request: "_Request", call: Call) -> Response:
        """Send one copy of the call to one instance, in its own span. Raises CallError."""
        alive = {instance.name: instance for instance in self._instances(self.callee)}
        if not alive:
            raise NoInstanceError(f"no live instance of {self.callee}")
        eject = self.protection.ejects(call)
        copy = self._balancer.begin(list(alive), request.copies, eject=eject)
        started = time.perf_counter()
        status, error_type = 0, ""
        breaker = self.protection.breaker
        address = alive[copy.name].address
        host, _, port = address.rpartition(":")
        span = signals.tracer().start_span(
            f"{request.method} {call.operation}",
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": request.method, "url.template": call.operation,
                "server.address": host, "server.port": int(port),
                "peer.service": self.callee, "breakwater.peer.instance": copy.name,
                "breakwater.attempt": call.attempt,
                "breakwater.breaker.state": breaker.state.value if breaker else "none",
            },
        )  # fmt: skip
        try:
            with signals.CurrentSpan(span):
                signals.propagator.inject(request.headers)
                if call.deadline is not None:
                    request.headers[BUDGET_HEADER] = to_header(call.deadline, time.monotonic())
                response = await self._send(request, alive[copy.name])
            status = response.status
            return response
        except BaseException as error:
            error_type = self._error_type(error, time.perf_counter() - started)
            status = getattr(error, "status", None) or 0
            span.set_status(Status(StatusCode.ERROR, str(error)))
            span.set_attribute("error.type", error_type)
            raise
        finally:
            if status:
                span.set_attribute("http.response.status_code", status)
            span.end()
            seconds = time.perf_counter() - started
            if error_type == "CancelledError":
                self._balancer.cancelled(copy, request.copies)
            elif error_type and error_type != "Overloaded":
                self._balancer.failed(copy, seconds)
            else:
                self._balancer.answered(copy, request.copies, seconds)
            signals.CLIENT_SECONDS.labels(
                self.edge, request.method, call.operation, str(status or ""), error_type
            ).observe(seconds, exemplar_trace_id(span))

    def _error_type(self, error: BaseException, seconds: float) -> str:
        """The error's name; a cancellation by the edge's own timeout counts as TimedOut."""
        timeout = self.protection.chain.get("timeout")
        if isinstance(error, asyncio.CancelledError) and isinstance(timeout, Timeout):
            return "TimedOut" if seconds >= timeout.seconds * 0.99 else "CancelledError"
        return label(error)

    async def _send(self, request: "_Request", instance: Instance) -> Response:
        async def send(headers: dict[str, str]) -> Response:
            status, answer_headers, content = await self._connections.request(
                instance.name, instance.address, request.method, request.path,
                headers, request.content, request.params,
            )  # fmt: skip
            return Response(status, content, answer_headers)

        try:
            if self._injector.active:
                response = await self._with_faults(request, send)
            else:
                response = await send(request.headers)
        except FaultAbortedError as abort:
            raise CallFailedError(
                f"{self.callee}: injected {abort.status}",
                status=abort.status,
                definite=False,
                retryable=True,
            ) from None
        except NotConnectedError as error:  # the work did not happen
            raise CallFailedError(
                f"{self.callee}: {error}", definite=True, retryable=True
            ) from error
        except OSError as error:  # TimeoutError is one
            raise CallFailedError(
                f"{self.callee}: {error or type(error).__name__}", definite=False, retryable=True
            ) from error
        return checked(self.callee, response, safe=request.method == "GET")

    async def _with_faults(
        self, request: "_Request", send: Callable[[dict[str, str]], Awaitable[Response]]
    ) -> Response:
        """Send the request with the lab's faults. Raises FaultAbortedError."""
        # a copy of the headers: a fault must not change those of the next attempt
        exchange = Exchange(
            "outbound", request.method, request.path, self._caller, self.callee,
            headers=dict(request.headers),
        )  # fmt: skip

        async def proceed(discard: bool) -> Response:
            answer = await send(exchange.headers)
            answer.content = exchange.changed(answer.content)
            return answer

        response: Response = await self._injector.run(exchange, proceed)
        return response


@dataclass(slots=True)
class _Request:
    """The HTTP request of one logical call, shared by all its copies."""

    method: str
    path: str
    params: Any
    content: bytes | None
    headers: dict[str, str]
    copies: CallCopies


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()
