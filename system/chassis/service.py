"""`create_app` builds the app of a service; `Service` is what its composition root works with."""

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from fastapi import FastAPI
from nats.aio.client import Client as NatsClient

from chassis import clock, faults, lab_routes
from chassis.background import supervise
from chassis.cache import Cache, open_cache
from chassis.clock import SystemClock
from chassis.edge_policies import event_sink, saturation
from chassis.edge_policies.protection import EdgeProtection
from chassis.edge_policies.switches import PolicySwitches
from chassis.ended_sessions import EndedSessions
from chassis.faults.residue import Baseline
from chassis.http import health, idempotency
from chassis.http.auth import SERVICE_TOKEN_S, Authenticator, ServiceTokens, UserTokens
from chassis.http.client import ServiceClient, open_connections
from chassis.http.connections import Connections
from chassis.http.middleware import RequestMiddleware
from chassis.http.problems import RESPONSES
from chassis.http.problems import install as install_problems
from chassis.messaging import bus
from chassis.messaging.effects import Handler
from chassis.messaging.event import Event
from chassis.messaging.inbox import Inbox
from chassis.messaging.outbox import Outbox
from chassis.postgres.database import CHECK_WRITES, Seed, apply_schema, close_pool, open_pool
from chassis.registry import Instance, Registry
from chassis.settings import Settings
from chassis.telemetry import signals
from chassis.telemetry.metrics import expose, withdraw

log = logging.getLogger("chassis.service")
POOL_SIZE_MAX = 10
READY_S = 1.0
Start = Callable[["Service"], AbstractAsyncContextManager[None]]
Responses = Mapping[int | str, dict[str, Any]]
Close = Callable[[], Awaitable[Any]]


def create_app(
    name: str,
    *,
    problems: Mapping[type[Exception], int] | None = None,
    responses: Responses = RESPONSES,
    start: Start,
) -> FastAPI:
    """A FastAPI app with telemetry, health checks, faults, deadlines and problem details.

    Creating it opens nothing: that happens in its lifespan, with `app.state.settings` if they are
    set, else with settings from the environment. `problems` maps domain errors to statuses.
    `responses` is what the OpenAPI document says of every route. `start` is the service's composition
    root; the folder of its module holds `schema.sql`.
    """
    home = Path(sys.modules[start.__module__].__file__ or "").parent

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = getattr(app.state, "settings", None) or Settings.from_env(os.environ)
        tracing = signals.start(settings)
        service = app.state.service = Service(settings, app, home)
        _add_operator_routes(app)
        _install_for_process(service)
        try:
            await service.run(start)
            yield
        finally:
            await service.close()
            event_sink.flush()
            await asyncio.to_thread(tracing.shutdown)

    app = FastAPI(
        title=f"Breakwater {name}",
        version="1",
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        redoc_url=None,
        responses=dict(responses),
    )
    app.add_middleware(RequestMiddleware)
    install_problems(app, problems or {})
    return app


def _add_operator_routes(app: FastAPI) -> None:
    """Add the health, metrics and lab routes after the service's own, which are then matched first."""
    if not getattr(app.state, "has_operator_routes", False):
        app.include_router(health.router)
        app.include_router(lab_routes.router)
        app.state.has_operator_routes = True


def _install_for_process(service: "Service") -> None:
    """Make this service's faults, clock and switches those of the process."""
    faults.install(service.injector)
    clock.install(service.clock)
    idempotency.enabled = service.settings.idempotency
    idempotency.digest_key = hashlib.sha256(service.settings.service_secret.encode()).digest()


class Service:
    """One running instance: its settings, stores and clients. They are closed in reverse order."""

    def __init__(self, settings: Settings, app: FastAPI, home: Path) -> None:
        self.settings = settings
        self.state = app.state
        self.clock = SystemClock()
        self.log = logging.getLogger(settings.service)
        self.injector = faults.Injector(
            host=_host(settings, self.clock), keep=_faults_file(settings)
        )
        self.baseline = Baseline()
        self.clients: dict[str, ServiceClient] = {}
        self.policy_switches = PolicySwitches(_switches_file(settings))
        self.checks: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.stopping = False
        self._home = home
        self._stack = AsyncExitStack()
        self._connections: Connections
        self._nats: NatsClient | None = None
        self._registry: Registry | None = None
        self._ended: EndedSessions | None = None
        now = self.clock.time_s
        life_s = settings.number("SERVICE_TOKEN_S", SERVICE_TOKEN_S)
        self._tokens = ServiceTokens(settings.service, settings.service_secret, now, life_s)
        self._loop_lag = saturation.LoopLag(self.clock)
        self._saturation = saturation.Saturation(
            self.policy_switches, self.instances, self._loop_lag
        )
        users = UserTokens(self._fetch_jwks, now)
        self.auth = Authenticator(self._tokens, users, now, self._session_ended)

    # -- for the composition root of a service ------------------------------------------------

    async def database(self, *, seed: Seed | None = None) -> asyncpg.Pool:
        """A pool on the service's own database, with the schema applied. `seed` runs in a lab only."""
        pool = await open_pool(
            self.settings.require("database_url"),
            size_max=int(self.settings.number("DB_POOL_MAX", POOL_SIZE_MAX)),
            clock_s=self.clock.monotonic,
        )
        self._on_close(lambda: close_pool(pool))
        self.background("rotation of idle connections", pool.rotate_idle)
        expose(idempotency.USES)
        self.injector.host.pools.append(pool)
        await apply_schema(pool, self._home / "schema.sql", seed if self.settings.lab else None)
        self.checks["database"] = lambda: pool.execute(CHECK_WRITES, timeout=READY_S)
        return pool

    async def cache(self) -> Cache:
        """The service's cache on Valkey."""
        opened = open_cache(
            self.settings.require("valkey_url"),
            f"{self.settings.service}:",
            bypass=self.settings.switch("CACHE_BYPASS"),
        )
        self.injector.host.caches.append(opened)
        return opened

    async def bus(self) -> bus.Bus:
        """The message broker, with its streams created."""
        opened = bus.Bus(await self._broker())
        await bus.ensure_streams(opened.js)
        return opened

    async def outbox(self, pool: asyncpg.Pool) -> Outbox:
        """An outbox on `pool`, with its relay running."""
        opened = Outbox(pool, await self.bus(), enabled=self.settings.outbox)
        self.background("outbox relay", opened.relay)
        return opened

    async def consume(self, pool: asyncpg.Pool, handlers: Mapping[type[Event], Handler]) -> None:
        """Start consuming these events. Each event takes effect once: it is recorded together with its effect."""
        inbox = Inbox(
            self.settings.service,
            pool,
            await self.bus(),
            handlers,
            durable=self.settings.switch("DURABLE_CONSUMER"),
            dead_letters=self.settings.switch("DEAD_LETTERS"),
        )
        self.background("inbox", inbox.run)

    def client(self, callee: str) -> ServiceClient:
        """The client for calls to `callee`; one per callee."""
        if callee not in self.clients:
            caller = self.settings.service
            edge = f"{caller}->{callee}"
            protection = EdgeProtection(edge, self.settings.resilience)
            self.policy_switches.add(edge, protection)
            self.clients[callee] = ServiceClient(
                caller,
                callee,
                self._connections,
                self.instances,
                protection,
                self._tokens,
                self.injector,
            )
        return self.clients[callee]

    @property
    def ended_sessions(self) -> EndedSessions:
        """The sessions whose tokens every service refuses."""
        assert self._ended is not None, "it is open when `start` runs"
        return self._ended

    def background(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until the service stops. If it raises, log the error and restart it."""
        task = asyncio.create_task(supervise(name, work, self.clock), name=name)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._on_close(stop)

    def instances(self, service: str) -> list[Instance]:
        """The live instances of a service by the registry; none before it is open."""
        return self._registry.instances(service) if self._registry else []

    def record(self, event: str, **fields: Any) -> None:
        """Write an event line for the run's archive."""
        signals.record(event, **fields)

    # -- life cycle -------------------------------------------------------------------------

    async def run(self, start: Start) -> None:
        """Open everything, then announce this instance in the registry."""
        settings = self.settings
        await self._restore_faults()
        self._expose_saturation()
        self._connections = open_connections()
        self._on_close(self._connections.close)
        registry = self._registry = Registry(await self._broker(), settings.edges)
        await registry.open()
        self._on_close(registry.close)  # if `start` fails
        self._ended = EndedSessions(await self._broker())
        await self._ended.open()
        self._on_close(self._ended.close)
        await self._stack.enter_async_context(start(self))
        # announced last, unregistered first: no instance is called that is not ready
        self._on_close(registry.close)
        name, address = settings.instance, settings.advertise
        own = Instance(settings.service, name, address, settings.arm, settings.version)
        await registry.announce(own)
        log.info("ready on %s", address)

    async def readiness_problems(self) -> dict[str, str]:
        """Why this instance is not ready: the reason by the name of the check. Empty when it is ready."""
        problems = {"instance": "shutting down"} if self.stopping else {}
        for name, check in self.checks.items():
            try:
                await asyncio.wait_for(check(), READY_S)
            except Exception as error:
                problems[name] = str(error) or type(error).__name__
        return problems

    async def unregister(self) -> None:
        """Leave the registry. Requests in flight continue."""
        self.stopping = True
        if self._registry is not None:
            await self._registry.close()

    async def close(self) -> None:
        """Release everything, the last opened first."""
        self.stopping = True
        withdraw(self._saturation)
        await self.injector.close()  # first: a fault may hold a resource that the others wait for
        await self._stack.aclose()

    def _on_close(self, close: Close) -> None:
        self._stack.push_async_callback(close)

    async def _restore_faults(self) -> None:
        await self.injector.restore()
        if self.injector.active:
            await self.injector.run(faults.Exchange("start"), _do_nothing)

    def _expose_saturation(self) -> None:
        saturation.CLOCK.set_function(lambda: self.clock.now().timestamp())
        saturation.CONNECTED.set_function(lambda: bool(self._nats and self._nats.is_connected))
        expose(saturation.CLOCK, saturation.CONNECTED, saturation.LOOP_LAG_SECONDS)
        expose(self._saturation)
        self.background("loop lag watch", self._loop_lag.watch)

    async def _broker(self) -> NatsClient:
        if self._nats is None:
            self._nats = await bus.connect(
                self.settings.require("nats_url"), self.settings.instance
            )
            self._on_close(self._nats.close)
            self.checks["broker"] = self._broker_connected
        return self._nats

    async def _broker_connected(self) -> None:
        if self._nats is None or not self._nats.is_connected:
            raise ConnectionError("not connected")

    def _session_ended(self, session_id: str) -> bool:
        return self._ended is not None and session_id in self._ended

    async def _fetch_jwks(self) -> dict[str, Any]:
        response = await self.client("users").get("/.well-known/jwks.json")
        body: dict[str, Any] = response.body
        return body


def _host(settings: Settings, clock: SystemClock) -> faults.Host:
    return faults.Host(
        settings.instance, settings.arm, settings.version, settings.database_url, clock
    )


def _faults_file(settings: Settings) -> Path | None:
    """The file in which this instance's faults survive a restart; set by the lab."""
    folder = settings.env.get("LAB_FAULTS", "") if settings.lab else ""
    return Path(folder) / f"{settings.instance}.json" if folder else None


def _switches_file(settings: Settings) -> Path | None:
    """The lab's file of settings for resilience policies."""
    path = settings.env.get("LAB_RESILIENCE", "") if settings.lab else ""
    return Path(path) if path else None


async def _do_nothing(discard: bool) -> None:
    return None
