"""Host names of listen addresses and upstreams: looked up in threads, remembered, never awaited for long."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FRESH_S = 5.0  # how long an answer is used without another look-up
WAIT_S = 2.0  # how long a client waits for a name that is not known
REFRESH_WAIT_S = 0.2  # how long it waits for a new answer while an older one is known
LOOKUPS_MAX = 64  # a look-up without an answer keeps its thread for 10 s and more

Address = tuple[Any, ...]  # a `socket` address: (host, port), four items for IPv6
Resolved = tuple[int, Address]  # address family and socket address
Lookup = Callable[[str | None, str], list[Resolved]]


def look_up(host: str | None, port: str) -> list[Resolved]:
    """The addresses of a name by the system's resolver, IPv4 first. Blocks; raises OSError."""
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=0 if host else socket.AI_PASSIVE
        )
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
    resolved: list[Resolved] = [(info[0], info[4]) for info in found]
    return sorted(resolved, key=lambda each: each[0] != socket.AF_INET)


@dataclass(frozen=True, slots=True)
class Answer:
    addresses: list[Resolved]
    at_s: float


class Names:
    """One look-up at a time for each name, in its own thread: a mute name server delays only that name."""

    def __init__(self, lookup: Lookup = look_up, wait_s: float = WAIT_S) -> None:
        self._look_up = lookup
        self._wait_s = wait_s
        self._known: dict[tuple[str | None, str], Answer] = {}
        self._running: dict[tuple[str | None, str], asyncio.Future[list[Resolved]]] = {}

    async def resolve(self, host: str | None, port: str) -> list[Resolved]:
        """The addresses of a name, at most WAIT_S later; raises OSError.

        After FRESH_S it asks again and uses the older addresses if no answer comes.
        """
        name, loop = (host, port), asyncio.get_running_loop()
        known = self._known.get(name)
        if known is not None and loop.time() - known.at_s < FRESH_S:
            return known.addresses
        running = self._running.get(name) or self._start(name)
        wait_s = min(REFRESH_WAIT_S, self._wait_s) if known else self._wait_s
        await asyncio.wait({running}, timeout=wait_s)
        if running.done():
            return running.result()
        if known is not None:
            return known.addresses
        raise TimeoutError(f"no name server answered for {host} within {wait_s:g} s")

    def forget(self, host: str | None, port: str) -> None:
        """The next `resolve` looks the name up: a server may have moved to another address."""
        self._known.pop((host, port), None)

    def _start(self, name: tuple[str | None, str]) -> asyncio.Future[list[Resolved]]:
        if len(self._running) >= LOOKUPS_MAX:
            raise OSError(f"{LOOKUPS_MAX} names wait for an answer of the name server")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Resolved]] = loop.create_future()
        self._running[name] = future

        def run() -> None:
            found: list[Resolved] | OSError
            try:
                found = self._look_up(*name)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(self._finish, name, future, found)

        # a daemon: the process may end while the resolver waits
        threading.Thread(target=run, name=f"look up {name[0]}", daemon=True).start()
        return future

    def _finish(
        self,
        name: tuple[str | None, str],
        future: asyncio.Future[list[Resolved]],
        found: list[Resolved] | OSError,
    ) -> None:
        self._running.pop(name, None)
        if isinstance(found, OSError):
            self._known.pop(name, None)
            future.set_exception(found)
            future.exception()  # it is no error if every client has left
            return
        self._known[name] = Answer(found, future.get_loop().time())
        future.set_result(found)
