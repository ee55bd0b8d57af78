"""One proxy: a listener, its connections, and the toxics on them."""

import asyncio
import contextlib
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from lab.proxy.data_path import addresses
from lab.proxy.data_path.connection import Connection
from lab.proxy.data_path.listener import Listener
from lab.proxy.data_path.memory import Memory
from lab.proxy.data_path.names import Address, Names, Resolved
from lab.proxy.data_path.sender import Traffic
from lab.proxy.data_path.timers import Timer, Timers
from lab.proxy.deviations import Deviations
from lab.proxy.errors import ToxicExistsError, ToxicNotFoundError
from lab.proxy.fault_log import FaultListener, ignore_fault
from lab.proxy.toxic import STREAMS, Toxic, ToxicChange
from lab.proxy.toxic_record import Record
from lab.proxy.toxics.connection_cap import Admission, ConnectionCapAttributes


@dataclass(frozen=True, slots=True)
class ProxyContext:
    """The objects that all proxies of a server share."""

    loop: asyncio.AbstractEventLoop
    timers: Timers
    deviations: Deviations
    seed: int
    removed: deque[dict[str, Any]]  # the last removed toxics and outages, for audits
    names: Names
    memory: Memory
    on_fault: FaultListener = ignore_fault


@dataclass(frozen=True, slots=True)
class ProxyState:
    """What `restore` needs; `where` is None while the proxy does not listen."""

    listen: str
    upstream: str
    where: Resolved | None


class Proxy:
    """All methods are synchronous, so that no request sees a half-made change."""

    def __init__(self, context: ProxyContext, name: str, listen: str, upstream: str) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.traffic = {stream: Traffic() for stream in STREAMS}
        self.connections: dict[int, Connection] = {}
        self.outage: Record | None = None  # while it is disabled
        self.outage_timer: Timer | None = None
        self._context = context
        self._listener: Listener | None = None
        self._accepted = 0
        self._ttl_timers: dict[Toxic, Timer] = {}

    def start(self, family: int, address: Address) -> None:
        """Listens, unless it already does; raises CannotListenError."""
        if self._listener is not None:
            return
        sock = addresses.listen(family, address)
        self.listen = addresses.join_host_port(sock.getsockname())
        self.enabled = True
        self._listener = Listener(
            self._context.loop,
            sock,
            self.upstream,
            self._context.names,
            self._number,
            self._connected,
            self._admission,
            rst_if_unreachable=self._context.deviations.unreachable_upstream_resets,
        )

    def stop(self) -> None:
        """Closes the listener and every connection."""
        self.enabled = False
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self.connections.values()):
            connection.abandon()

    def state(self) -> ProxyState:
        where = self._listener.where if self._listener is not None else None
        return ProxyState(self.listen, self.upstream, where)

    def restore(self, state: ProxyState) -> None:
        """Restores listener and addresses; closed connections stay closed. Raises CannotListenError."""
        self.stop()
        self.listen, self.upstream = state.listen, state.upstream
        if state.where is not None:
            self.start(*state.where)

    def find(self, name: str) -> Toxic:
        for toxic in self.toxics:
            if toxic.name == name:
                return toxic
        raise ToxicNotFoundError()

    def listed_toxics(self) -> list[Toxic]:
        return sorted(self.toxics, key=lambda toxic: STREAMS.index(toxic.stream))

    def add(self, toxic: Toxic) -> None:
        """Adds a toxic to every open and future connection; raises ToxicExistsError."""
        if any(other.name == toxic.name for other in self.toxics):
            raise ToxicExistsError()
        toxic.first_number = self._accepted
        self.toxics.append(toxic)
        # in order of age, so that the random draws for open connections are repeatable
        for age, connection in enumerate(self._open_connections()):
            link = connection.links[toxic.stream]
            link.install(toxic, f"open {age}", present_at_open=False)
            link.balance()
        self._expire_in(toxic, toxic.ttl_s)
        toxic.record.effective_s = time.time()
        self._context.on_fault("effective", toxic.fault_record(self.name))

    def update(self, toxic: Toxic, change: ToxicChange) -> None:
        toxic.attributes = change.attributes
        toxic.toxicity = change.toxicity
        toxic.generation += 1
        if change.ttl_s is not None:
            toxic.ttl_s = change.ttl_s
            self._expire_in(toxic, change.ttl_s)
        for connection in self._open_connections():
            connection.links[toxic.stream].update(toxic)
        self._admit_waiting()

    def remove(self, toxic: Toxic, by: str) -> None:
        """Removes a toxic at once; never waits for traffic."""
        self.toxics.remove(toxic)
        timer = self._ttl_timers.pop(toxic, None)
        if timer is not None:
            timer.cancel()
        for connection in self._open_connections():
            connection.links[toxic.stream].remove(toxic)
        toxic.record.removed(by)
        self._context.removed.append({"proxy": self.name, **toxic.view(self._context.deviations)})
        self._context.on_fault("removed", toxic.fault_record(self.name))
        self._admit_waiting()

    def remove_all(self, by: str) -> None:
        for toxic in list(self.toxics):
            self.remove(toxic, by)

    def view(self) -> dict[str, Any]:
        deviations = self._context.deviations
        shown: dict[str, Any] = {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [toxic.view(deviations) for toxic in self.listed_toxics()],
        }
        if deviations.extras:
            shown["breakwater"] = {
                "open_connections": len(self._open_connections()),
                "accepted_connections": self._accepted,
                "outage": self.outage.view() if self.outage is not None else None,
            }
        return shown

    def _expire_in(self, toxic: Toxic, ttl_s: float | None) -> None:
        if toxic in self._ttl_timers:
            self._ttl_timers.pop(toxic).cancel()
        if ttl_s is not None:
            toxic.record.expires_s = time.time() + ttl_s
            self._ttl_timers[toxic] = self._context.timers.at(
                self._context.timers.now_s() + ttl_s, lambda: self.remove(toxic, by="ttl")
            )

    def _open_connections(self) -> list[Connection]:
        """In order of acceptance, without those that are closing."""
        numbers = sorted(self.connections)
        return [self.connections[n] for n in numbers if self.connections[n].open]

    def _number(self) -> int:
        number = self._accepted
        self._accepted += 1
        return number

    def _admission(self, dialling: int, is_new: bool) -> Admission:
        """Applies the connection caps; a new client that is not admitted at once counts as a hit."""
        inside = dialling + len(self.connections)
        for toxic in self.toxics:
            if isinstance(toxic.attributes, ConnectionCapAttributes):
                admission = toxic.attributes.admission(inside)
                if admission is not Admission.IN:
                    if is_new:
                        toxic.record.hit(0)
                    return admission
        return Admission.IN

    def _admit_waiting(self) -> None:
        if self._listener is not None:
            self._listener.admit_waiting()

    def _connected(self, number: int, client: socket.socket, upstream: socket.socket) -> None:
        context = self._context
        connection = Connection(
            context.loop,
            context.timers,
            context.deviations,
            context.memory,
            number,
            client,
            upstream,
            self.traffic,
            self._forget,
        )
        self.connections[number] = connection
        for stream, link in connection.links.items():
            link.start(
                (toxic, self._key(toxic, number)) for toxic in self.toxics if toxic.stream == stream
            )

    def _key(self, toxic: Toxic, number: int) -> str:
        return f"new {number - toxic.first_number}"

    def _forget(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError):
            del self.connections[connection.number]
        self._admit_waiting()
