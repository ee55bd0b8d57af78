"""The service registry on NATS KV: instances renew leases by heartbeat, each process keeps a local view."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from opentelemetry.trace import SpanKind

from chassis.faults import Exchange, armed
from chassis.messaging.bus import UNREACHABLE
from chassis.telemetry import signals

log = logging.getLogger("chassis.registry")
BUCKET = "registry"
LEASE_S = 3.0
HEARTBEAT_S = 1.0
BEATS_PER_TRACE = 10  # the traces then contain the edge to NATS, but not each heartbeat


@dataclass(frozen=True, slots=True)
class Instance:
    """A running copy of a service, as it announced itself."""

    service: str
    name: str
    address: str
    arm: str = "control"
    version: str = "1"


class Membership:
    """The live instances, computed from heartbeats. It does no I/O, so tests can use any clock.

    An instance leaves when its lease expires. If no heartbeat at all arrives, the registry itself is
    down, and the last known instances stay.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Instance, float]] = {}
        self._last_heartbeat_s = 0.0

    def heartbeat(self, instance: Instance, at_s: float) -> None:
        """Add the instance, or renew its lease."""
        self._seen[instance.name] = (instance, at_s)
        self._last_heartbeat_s = at_s

    def leave(self, name: str, at_s: float) -> None:
        """Remove the instance."""
        self._seen.pop(name, None)
        self._last_heartbeat_s = at_s

    def instances(self, service: str, at_s: float) -> list[Instance]:
        """The live instances in a stable order. `at_s` is on the clock of the heartbeats."""
        alive_since = min(at_s, self._last_heartbeat_s + HEARTBEAT_S) - LEASE_S
        return [
            instance
            for _, (instance, seen) in sorted(self._seen.items())
            if instance.service == service and seen >= alive_since
        ]


class Registry:
    """Announces this instance and follows the others.

    `edges` are addresses by the name of an instance or of a service. They replace the announced
    addresses, for example by those of a proxy.
    """

    def __init__(self, nats: Client, edges: Mapping[str, str] | None = None) -> None:
        self._nats = nats
        self._edges = edges or {}
        self._kv: KeyValue | None = None
        self._membership = Membership()
        self._tasks: list[asyncio.Task[None]] = []
        self._own: Instance | None = None
        self._beats = 0
        self._synced = asyncio.Event()

    async def open(self) -> None:
        """Create the bucket if it is missing, and start following it."""
        js = self._nats.jetstream()
        config = KeyValueConfig(bucket=BUCKET, history=1, ttl=LEASE_S, storage=StorageType.MEMORY)
        self._kv = await js.create_key_value(config)
        self._tasks.append(asyncio.create_task(self._forever(self._follow, "following")))
        # a ready service must know the others: its first call may come at once
        with suppress(TimeoutError):
            await asyncio.wait_for(self._synced.wait(), LEASE_S)

    async def announce(self, instance: Instance) -> None:
        """Announce this instance, and renew its lease until `close`."""
        self._own = instance
        await self._beat()
        self._tasks.append(asyncio.create_task(self._forever(self._heartbeat, "heartbeat")))

    def instances(self, service: str) -> list[Instance]:
        """The live instances of a service by the local view."""
        return self._membership.instances(service, time.monotonic())

    async def close(self) -> None:
        """Remove this instance, so that others stop calling it at once and not after the lease."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._own is not None and self._kv is not None and self._nats.is_connected:
            try:
                await asyncio.wait_for(self._kv.delete(self._own.name), 0.5)
            except UNREACHABLE as error:
                log.warning("could not leave the registry: %s", error)
            self._own = None

    async def _beat(self) -> None:
        assert self._kv is not None
        assert self._own is not None
        kv, own = self._kv, self._own

        async def put(discard: bool) -> None:
            await kv.put(own.name, json.dumps(asdict(own)).encode())

        self._beats += 1
        traced = signals.tracer().start_as_current_span(
            "registry heartbeat", kind=SpanKind.CLIENT, attributes={"peer.service": "nats"}
        )
        with traced if self._beats % BEATS_PER_TRACE == 1 else nullcontext():
            if injector := armed():
                exchange = Exchange("registry", "HEARTBEAT", own.name, fail=_unreachable)
                await injector.run(exchange, put)
            else:
                await put(False)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._nats.is_connected:  # while disconnected, a put would only be queued
                await self._beat()

    async def _follow(self) -> None:
        assert self._kv is not None
        watcher = await self._kv.watchall()
        try:
            async for entry in watcher:
                if entry is None:  # None marks the end of the existing entries
                    self._synced.set()
                    continue
                if injector := armed():
                    exchange = Exchange("registry", "WATCH", entry.key, fail=_unreachable)
                    await injector.run(exchange, partial(self._see_with_faults, entry))
                else:
                    self._see(entry)
        finally:
            with suppress(*UNREACHABLE):  # a closed connection needs no stop
                await watcher.stop()  # type: ignore[no-untyped-call]

    async def _see_with_faults(self, entry: KeyValue.Entry, discard: bool) -> None:
        self._see(entry)

    def _see(self, entry: KeyValue.Entry) -> None:
        if entry.operation in ("DEL", "PURGE") or not entry.value:
            self._membership.leave(entry.key, time.monotonic())
        else:
            self._see_heartbeat(entry.value)

    def _see_heartbeat(self, value: bytes) -> None:
        try:
            instance = Instance(**json.loads(value))
        except (ValueError, TypeError) as error:
            log.warning("invalid registry entry: %s", error)
            return
        edge = self._edges.get(instance.name) or self._edges.get(instance.service)
        if edge:
            instance = replace(instance, address=edge)
        self._membership.heartbeat(instance, time.monotonic())

    async def _forever(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        while True:
            try:
                await work()
            except (*UNREACHABLE, KeyNotFoundError) as error:
                log.warning("registry %s: %s", what, error or type(error).__name__)
            await asyncio.sleep(HEARTBEAT_S)


async def _unreachable(_: str) -> None:
    raise ConnectionError("injected: the registry cannot be reached")
