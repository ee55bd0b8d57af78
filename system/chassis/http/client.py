"""Calls to other services: found in the registry, balanced, protected, traced, with the deadline passed on."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import aiohttp
from opentelemetry.trace import SpanKind, Status, StatusCode

from chassis.edge_policies.protection import EdgeProtection
from chassis.faults import Exchange, FaultAborted, Injector
from chassis.http import context
from chassis.http.auth import ServiceTokens
from chassis.http.balancer import Balancer, CallCopies
from chassis.registry import Instance
from chassis.resilience.deadline import BUDGET_HEADER, sooner, to_header
from chassis.resilience.errors import CallFailedError, label
from chassis.resilience.policy import Call
from chassis.resilience.timeout import Timeout
from chassis.telemetry import signals
from chassis.telemetry.metrics import exemplar_trace_id

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# of one connect: a host that is gone is silent, and one that is there answers in a few milliseconds. Before the
# timeout of the attempt, so that it is known that nothing was sent, and there is time to ask another instance.
CONNECT_S = 0.25
CONNECTIONS_PER_HOST = 100
# asked-for work is bounded by the policies; this only ends what a policy-free profile would hang on
TOTAL_S = 30.0


class Response:
    """An answer below 500; `body` is the parsed JSON.

    `stale_s` is None, or the age of an answer that a fallback gave in place of a fresh one.
    """

    __slots__ = ("_body", "content", "headers", "received_at", "stale_s", "status")

    def __init__(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str],
        stale_s: float | None = None,
    ) -> None:
        self.status = status
        self.content = content
        self.headers = headers
        self.stale_s = stale_s
        self.received_at = time.monotonic()
        self._body: Any = None

    def parse(self) -> None:
        """Read the content as JSON. Raises ValueError."""
        self._body = json.loads(self.content)

    @property
    def body(self) -> Any:
        if self._body is None and self.content:
            self.parse()
        return self._body


class NoInstanceError(CallFailedError):
    """The registry knows no live instance of the service."""

    definite = True
    retryable = True


def open_session() -> aiohttp.ClientSession:
    """One connection pool a process; addresses come from the registry, and in containers they are names."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=CONNECTIONS_PER_HOST, keepalive_timeout=30
        ),
        timeout=aiohttp.ClientTimeout(total=TOTAL_S, sock_connect=CONNECT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class ServiceClient:
    """Calls one other service over one edge of the topology."""

    def __init__(
        self,
        caller: str,
        callee: str,
        session: aiohttp.ClientSession,
        instances: Callable[[str], list[Instance]],
        protection: EdgeProtection,
        tokens: ServiceTokens,
        injector: Injector,
        kinds_off_by_header: Callable[[str], frozenset[str] | None],
        rng: Random | None = None,
    ) -> None:
        self.edge = f"{caller}->{callee}"
        self.callee = callee
        self.protection = protection
        self._caller = caller
        self._session = session
        self._instances = instances
        self._tokens = tokens
        self._injector = injector
        self._kinds_off_by_header = kinds_off_by_header
        self._balancer = Balancer(protection.ejection, rng or Random())

    async def get(self, path: str, **options: Any) -> Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Response:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Response:
        return await self.request("PUT", path, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        token: str | None = None,
        route: str = "",
        timeout_s: float | None = None,
        idempotent: bool | None = None,
        priority: int = 0,
        stale_key: str = "",
    ) -> Response:
        """One logical call. `route` is the low-cardinality name; `timeout_s` tightens the deadline.

        `stale_key` names what is asked for, all parameters included: where the edge has a fallback,
        the last good answer to it stands in for a failed call. Returns answers below 500 other than
        429; raises CallError for the rest.
        """
        sent = dict(headers or {})
        sent["authorization"] = f"Bearer {token or self._tokens.mint(self.callee)}"
        sent[context.CALLER_HEADER] = self._caller
        if key is not None:
            sent["idempotency-key"] = key
        request_context = context.current.get()
        deadline = request_context.deadline if request_context else None
        if timeout_s is not None:
            deadline = sooner(deadline, time.monotonic() + timeout_s)
        disabled = None
        if request_context and request_context.lab:
            sent[context.LAB_HEADER] = request_context.lab
            disabled = self._kinds_off_by_header(request_context.lab)
        if json is not None:
            content = _encode(json)
            sent["content-type"] = "application/json"
        call = Call(
            edge=self.edge,
            operation=route or path,
            idempotent=idempotent
            if idempotent is not None
            else method in SAFE_METHODS or key is not None,
            deadline=deadline,
            priority=priority,
            key=stale_key,
            disabled=disabled,
        )
        request = _Request(method, path, params, content, sent, CallCopies())
        started = time.monotonic()
        answer = await self.protection.run(partial(self._attempt, request), call)
        if answer.received_at < started:  # remembered from an earlier call
            age_s = started - answer.received_at
            return Response(answer.status, answer.content, answer.headers, stale_s=age_s)
        return answer

    async def _attempt(self, request: "_Request", call: Call) -> Response:
        """One copy of the call, at one instance, with a span of its own. Raises CallError."""
        alive = {instance.name: instance for instance in self._instances(self.callee)}
        if not alive:
            raise NoInstanceError(f"no live instance of {self.callee}")
        eject = self.protection.ejects(call)
        turn = self._balancer.begin(list(alive), request.copies, eject=eject)
        started = time.perf_counter()
        status, error_type = 0, ""
        breaker = self.protection.breaker
        address = alive[turn.name].address
        host, _, port = address.rpartition(":")
        span = signals.tracer().start_span(
            f"{request.method} {call.operation}",
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": request.method, "url.template": call.operation,
                "server.address": host, "server.port": int(port),
                "peer.service": self.callee, "breakwater.peer.instance": turn.name,
                "breakwater.attempt": call.attempt,
                "breakwater.breaker.state": breaker.state.value if breaker else "none",
            },
        )  # fmt: skip
        try:
            with signals.CurrentSpan(span):
                signals.propagator.inject(request.headers)
                if call.deadline is not None:
                    request.headers[BUDGET_HEADER] = to_header(call.deadline, time.monotonic())
                response = await self._send(request, alive[turn.name])
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
                self._balancer.cancelled(turn, request.copies)
            elif error_type:
                self._balancer.failed(turn, seconds)
            else:
                self._balancer.answered(turn, request.copies, seconds)
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
        url = f"http://{instance.address}{request.path}"

        async def ask(headers: dict[str, str]) -> Response:
            async with self._session.request(
                request.method,
                url,
                params=request.params,
                data=request.content,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                return Response(answer.status, await answer.read(), answer.headers)

        try:
            if self._injector.active:
                response = await self._disturbed(request, ask)
            else:
                response = await ask(request.headers)
        except FaultAborted as abort:
            raise CallFailedError(
                f"{self.callee}: injected {abort.status}",
                status=abort.status,
                definite=False,
                retryable=True,
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # never connected: the work did not happen
            raise CallFailedError(
                f"{self.callee}: {error}", definite=True, retryable=True
            ) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise CallFailedError(
                f"{self.callee}: {error or type(error).__name__}", definite=False, retryable=True
            ) from error
        if response.status >= 500 or response.status == 429:
            raise _failure(self.callee, response, safe=request.method == "GET")
        return _readable(self.callee, response)

    async def _disturbed(
        self,
        request: "_Request",
        ask: Callable[[dict[str, str]], Awaitable[Response]],
    ) -> Response:
        """The request with the lab's faults around it. Raises FaultAborted."""
        # a copy: what a fault does to the headers is over with this attempt
        exchange = Exchange(
            "outbound", request.method, request.path, self._caller, self.callee,
            headers=dict(request.headers),
        )  # fmt: skip

        async def proceed(discard: bool) -> Response:
            answer = await ask(exchange.headers)
            answer.content = exchange.changed(answer.content)
            return answer

        response: Response = await self._injector.run(exchange, proceed)
        return response


@dataclass(slots=True)
class _Request:
    """One logical call's request, the same for all its copies."""

    method: str
    path: str
    params: Any
    content: bytes | None
    headers: dict[str, str]
    copies: CallCopies


def _readable(callee: str, response: Response) -> Response:
    """The answer, if what it says is JSON can be read. Raises CallFailedError, indefinite: the work was
    done, or was refused, but what came of it was damaged on its way; asking again may tell."""
    if "json" in response.headers.get("Content-Type", ""):
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
    """What an error answer means: 502, 503, 504 and 429 may be tried again, and where asking changes
    nothing (`safe`) a 500 too: it may be one instance's alone. The work may have happened unless the
    answer says `definite`."""
    try:
        problem = response.body
    except ValueError:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    retry_after = response.headers.get("Retry-After", "")
    return CallFailedError(
        f"{callee} answered {response.status}: {problem.get('detail', '')}",
        status=response.status,
        definite=response.status == 429 or problem.get("definite") is True,
        retryable=response.status in (429, 502, 503, 504) or (safe and response.status == 500),
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()
