"""The service registry on NATS KV: instances renew leases by heartbeat, each process keeps a local view."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

from nats.aio.client import Client
from opentelemetry.trace import SpanKind

from chassis.background import until_beat_s
from chassis.faults import Exchange, armed
from chassis.messaging.bucket import Bucket
from chassis.messaging.bus import UNREACHABLE
from chassis.telemetry import signals

log = logging.getLogger("chassis.registry")
BUCKET = "registry"
LEASE_S = 3.0
HEARTBEAT_S = 1.0
SILENCE_S = 2.0  # without a heartbeat of any instance: the registry itself is down
BEATS_PER_TRACE = 10  # the traces then contain the edge to NATS, but not each heartbeat


@dataclass(frozen=True, slots=True)
class Instance:
    """A running copy of a service, as it announced itself."""

    service: str
    name: str
    address: str
    arm: str = "control"
    version: str = "1"

    @property
    def key(self) -> str:
        """Its key in the registry. The broker lets a service write below its own name only."""
        return f"{self.service}.{self.name}"

    def to_entry(self) -> bytes:
        """The value under its key, as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_entry(cls, key: str, value: bytes) -> "Instance":
        """Raises ValueError or TypeError for an entry that is not under the instance's own key."""
        instance = cls(**json.loads(value))
        if instance.key != key:
            raise ValueError(f"{key} announces {instance.key}")
        return instance


class Membership:
    """The live instances, computed from heartbeats. It does no I/O, so tests can use any clock.

    An instance leaves when its lease expires. If no heartbeat at all arrives, the registry itself is
    down, and the last known instances stay. When heartbeats arrive again, each has a new lease: the
    others have not had the time to send theirs.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Instance, float]] = {}
        self._last_heartbeat_s = 0.0

    def heartbeat(self, instance: Instance, at_s: float) -> None:
        """Add the instance, or renew its lease."""
        self._hear(at_s)
        self._seen[instance.key] = (instance, at_s)

    def leave(self, key: str, at_s: float) -> None:
        """Remove the instance with this key."""
        self._hear(at_s)
        self._seen.pop(key, None)

    def instances(self, service: str, at_s: float) -> list[Instance]:
        """The live instances in a stable order. `at_s` is on the clock of the heartbeats."""
        return [i for _, i in sorted(self._alive(at_s).items()) if i.service == service]

    def _alive(self, at_s: float) -> dict[str, Instance]:
        since = min(at_s, self._last_heartbeat_s + HEARTBEAT_S) - LEASE_S
        return {key: instance for key, (instance, seen) in self._seen.items() if seen >= since}

    def _hear(self, at_s: float) -> None:
        if at_s - self._last_heartbeat_s > SILENCE_S:
            self._seen = {key: (each, at_s) for key, each in self._alive(at_s).items()}
        self._last_heartbeat_s = at_s


class Registry:
    """Announces this instance and follows the others.

    `edges` are addresses by the name of an instance or of a service. They replace the announced
    addresses, for example by those of a proxy.
    """

    def __init__(self, nats: Client, edges: Mapping[str, str] | None = None) -> None:
        self._nats = nats
        self._edges = edges or {}
        self._bucket = Bucket(nats, BUCKET, LEASE_S)
        self._membership = Membership()
        self._known: dict[
            str, tuple[bytes, Instance]
        ] = {}  # by key, the last entry and its content
        self._beating: asyncio.Task[None] | None = None
        self._own: Instance | None = None
        self._beats = 0

    async def open(self) -> None:
        """Create the bucket if it is missing, and follow it: a ready service must know the others."""
        await self._bucket.open(self._see)

    async def announce(self, instance: Instance) -> None:
        """Announce this instance, and renew its lease until `close`."""
        self._own = instance
        await self._beat(instance)
        self._beating = asyncio.create_task(self._heartbeat(instance))

    def instances(self, service: str) -> list[Instance]:
        """The live instances of a service by the local view."""
        return self._membership.instances(service, time.monotonic())

    async def close(self) -> None:
        """Remove this instance, so that others stop calling it at once and not after the lease."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._bucket.close()
        if self._own is not None and self._nats.is_connected:
            try:
                await asyncio.wait_for(self._bucket.delete(self._own.key), 0.5)
            except UNREACHABLE as error:
                log.warning("could not leave the registry: %s", error)
            self._own = None

    async def _beat(self, own: Instance) -> None:
        async def put(discard: bool) -> None:
            await self._bucket.put(own.key, own.to_entry())

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

    async def _heartbeat(self, own: Instance) -> None:
        while True:
            await asyncio.sleep(until_beat_s(HEARTBEAT_S))
            if not self._nats.is_connected:  # a put would only be queued
                continue
            try:
                await self._beat(own)
            except UNREACHABLE as error:
                log.warning("registry heartbeat: %s", error or type(error).__name__)

    async def _see(self, key: str, value: bytes) -> None:
        """Take one entry into the view, with the lab's faults."""

        async def see(discard: bool) -> None:
            if value:
                self._see_heartbeat(key, value)
            else:
                self._membership.leave(key, time.monotonic())

        if injector := armed():
            name = key.rpartition(".")[2]
            await injector.run(Exchange("registry", "WATCH", name, fail=_unreachable), see)
        else:
            await see(False)

    def _see_heartbeat(self, key: str, value: bytes) -> None:
        known, instance = self._known.get(key, (b"", None))
        if instance is None or known != value:
            try:
                instance = Instance.from_entry(key, value)
            except (ValueError, TypeError) as error:
                log.warning("invalid registry entry: %s", error)
                return
            edge = self._edges.get(instance.name) or self._edges.get(instance.service)
            if edge:
                instance = replace(instance, address=edge)
            self._known[key] = value, instance
        self._membership.heartbeat(instance, time.monotonic())


async def _unreachable(_: str) -> None:
    raise ConnectionError("injected: the registry cannot be reached")
