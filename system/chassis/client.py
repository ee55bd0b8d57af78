"""Calls to other services: found in the registry, balanced, protected, traced, with the deadline passed on."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

import aiohttp
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from chassis import context, telemetry
from chassis.auth import ServiceTokens
from chassis.faults import Exchange, FaultAborted, Injector
from chassis.protection import Protection
from chassis.registry import Instance
from chassis.resilience.deadline import BUDGET_HEADER, sooner, to_header
from chassis.resilience.errors import CallFailed
from chassis.resilience.hedge import Hedge
from chassis.resilience.policy import Call
from chassis.resilience.timeout import Timeout

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONNECT_S = 1.0
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

    @property
    def body(self) -> Any:
        if self._body is None and self.content:
            self._body = json.loads(self.content)
        return self._body


class NoInstance(CallFailed):
    """The registry knows no live instance of the service."""

    definite = True
    retryable = True


def open_session() -> aiohttp.ClientSession:
    """One connection pool a process; DNS is not involved, addresses come from the registry."""
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
        protection: Protection,
        tokens: ServiceTokens,
        injector: Injector,
        disabled_by: Callable[[str], frozenset[str] | None],
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
        self._disabled_by = disabled_by
        self._rng = rng or Random()
        self._in_flight: dict[str, int] = {}

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
            disabled = self._disabled_by(request_context.lab)
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
        tried: list[str] = []
        started = time.monotonic()

        async def attempt(call: Call) -> Response:
            return await self._attempt(call, method, path, params, content, sent, tried)

        answer = await self.protection.run(attempt, call)
        if answer.received_at < started:  # remembered from an earlier call
            age_s = started - answer.received_at
            return Response(answer.status, answer.content, answer.headers, stale_s=age_s)
        return answer

    def _choose(self, tried: list[str], call: Call) -> Instance:
        """The less busy of two by chance; not an ejected or already tried one if there is another."""
        alive = self._instances(self.callee)
        usable = set(self.protection.usable([instance.name for instance in alive], call))
        usable = usable - set(tried) or usable
        fresh = [instance for instance in alive if instance.name in usable]
        if not fresh:
            raise NoInstance(f"no live instance of {self.callee}")
        if len(fresh) == 1:
            return fresh[0]
        one, other = self._rng.sample(fresh, 2)
        return min(one, other, key=lambda instance: self._in_flight.get(instance.name, 0))

    async def _attempt(
        self,
        call: Call,
        method: str,
        path: str,
        params: Any,
        content: bytes | None,
        headers: dict[str, str],
        tried: list[str],
    ) -> Response:
        instance = self._choose(tried, call)
        tried.append(instance.name)
        started = time.perf_counter()
        status, error_type = 0, ""
        breaker = self.protection.breaker
        span = telemetry.tracer().start_span(
            f"{method} {call.operation}",
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": method, "url.template": call.operation, "peer.service": self.callee,
                "breakwater.peer.instance": instance.name, "breakwater.attempt": call.attempt,
                "breakwater.breaker.state": breaker.state.value if breaker else "none",
            },
        )  # fmt: skip
        self._in_flight[instance.name] = self._in_flight.get(instance.name, 0) + 1
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                telemetry.propagator.inject(headers)
                if call.deadline is not None:
                    headers[BUDGET_HEADER] = to_header(call.deadline, time.monotonic())
                response = await self._send(call, instance, method, path, params, content, headers)
            status = response.status
            return response
        except BaseException as error:
            error_type = self._error_type(error, time.perf_counter() - started)
            status = getattr(error, "status", None) or 0
            span.set_status(Status(StatusCode.ERROR, str(error)))
            span.set_attribute("error.type", error_type)
            raise
        finally:
            self._in_flight[instance.name] -= 1
            if status:
                span.set_attribute("http.response.status_code", status)
            span.end()
            seconds = time.perf_counter() - started
            self._judge(instance, error_type, seconds)
            telemetry.CLIENT_SECONDS.labels(
                self.edge, method, call.operation, str(status or ""), error_type
            ).observe(seconds)

    def _judge(self, instance: Instance, error_type: str, seconds: float) -> None:
        """Tell the ejection how the instance did."""
        if error_type != "CancelledError":
            self.protection.ejection.record(instance.name, not error_type, seconds)
            return
        # A cancelled call says nothing of its instance, unless a hedge was faster: then it says "slow",
        # and without that the hedging would hide a slow instance from the ejection for ever.
        hedge = self.protection.chain.get("hedge")
        if isinstance(hedge, Hedge) and hedge.enabled and seconds >= hedge.delay_s:
            self.protection.ejection.record(instance.name, True, seconds)

    def _error_type(self, error: BaseException, seconds: float) -> str:
        """The error's name; a cancellation by our own timeout is TimedOut, so that it counts."""
        timeout = self.protection.chain.get("timeout")
        if isinstance(error, asyncio.CancelledError) and isinstance(timeout, Timeout):
            return "TimedOut" if seconds >= timeout.seconds * 0.99 else "CancelledError"
        return type(error).__name__

    async def _send(
        self,
        call: Call,
        instance: Instance,
        method: str,
        path: str,
        params: Any,
        content: bytes | None,
        headers: dict[str, str],
    ) -> Response:
        url = f"http://{instance.address}{path}"

        async def ask(sent: dict[str, str]) -> Response:
            async with self._session.request(
                method, url, params=params, data=content, headers=sent, allow_redirects=False
            ) as answer:
                return Response(answer.status, await answer.read(), answer.headers)

        try:
            if self._injector.active:
                response = await self._disturbed(method, path, headers, ask)
            else:
                response = await ask(headers)
        except FaultAborted as abort:
            raise CallFailed(
                f"{self.callee}: injected {abort.status}",
                status=abort.status,
                definite=False,
                retryable=True,
            ) from None
        except aiohttp.ClientConnectorError as error:
            # never connected: the work did not happen
            raise CallFailed(f"{self.callee}: {error}", definite=True, retryable=True) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise CallFailed(
                f"{self.callee}: {error or type(error).__name__}", definite=False, retryable=True
            ) from error
        if response.status < 500 and response.status != 429:
            return response
        raise _failure(self.callee, response)

    async def _disturbed(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        ask: Callable[[dict[str, str]], Awaitable[Response]],
    ) -> Response:
        """The request with the lab's faults around it. Raises FaultAborted."""
        # a copy: what a fault does to the headers is over with this attempt
        exchange = Exchange(
            "outbound", method, path, self._caller, self.callee, headers=dict(headers)
        )

        async def proceed(discard: bool) -> Response:
            answer = await ask(exchange.headers)
            answer.content = exchange.changed(answer.content)
            return answer

        response: Response = await self._injector.run(exchange, proceed)
        return response


def _failure(callee: str, response: Response) -> CallFailed:
    """What an error answer means: 502, 503, 504 and 429 may be tried again, the work may have happened
    unless the answer says `definite`."""
    try:
        problem = response.body
    except ValueError:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    retry_after = response.headers.get("Retry-After", "")
    return CallFailed(
        f"{callee} answered {response.status}: {problem.get('detail', '')}",
        status=response.status,
        definite=response.status == 429 or problem.get("definite") is True,
        retryable=response.status in (429, 502, 503, 504),
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()
