"""A read-through cache on Valkey with stampede protection. Without Valkey it loads from the source.

Three layers of protection: one load at a time per process and key (single flight), one among all instances (a
short lock in Valkey), and a random early refresh before expiry (XFetch: Vattani, Chierichetti, Lowenstein,
"Optimal Probabilistic Cache Stampede Prevention", VLDB 2015), so that a hot key does not expire for all at once.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chassis.faults import DROPPED, Exchange, armed
from chassis.telemetry import signals
from chassis.telemetry.metrics import counter, expose

log = logging.getLogger("chassis.cache")
LOOKUPS = counter("cache_lookups", "Cache look-ups", ("result",))
HITS, MISSES, DOWN, EARLY = (LOOKUPS.labels(r) for r in ("hit", "miss", "down", "early"))
_SERVER = {"peer.service": "valkey", "db.system.name": "redis"}
ANSWER_S = 0.2
LOCK_S = 2.0
LOCK_POLL_S = 0.02
PING_S = 1.0  # interval of the pings to an unreachable Valkey; requests do not wait for them
UNREACHABLE = (RedisError, OSError, TimeoutError)


class Cache:
    """Values are bytes. An entry is `<expires> <load seconds> <value>`.

    Without `bypass`, a protection that a lab can switch off, a look-up fails while Valkey is unreachable.
    """

    def __init__(
        self, client: redis.Redis, prefix: str, rng: Random | None = None, *, bypass: bool = True
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._rng = rng or Random()
        self._bypass = bypass
        self._flights: dict[str, asyncio.Task[bytes]] = {}
        self._pinging: asyncio.Task[None] | None = None  # runs while Valkey is unreachable

    async def bytes_or_load(
        self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The bytes under `key`, loaded if they are missing. Raises the errors of `load`."""
        flight = self._flights.get(key) or self._start(key, self._fetch(key, ttl_s, load))
        # shield: a cancelled caller must not cancel the load that others wait for
        return await asyncio.shield(flight)

    async def _fetch(self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]) -> bytes:
        entry = await self._get(key)
        remaining = entry[0] - time.time() if entry is not None else 0.0
        if entry is None or remaining <= 0:
            MISSES.inc()
            return await self._load(key, ttl_s, load)
        HITS.inc()
        refresh = f"{key}:refresh"
        early = entry[1] * -math.log(1.0 - self._rng.random()) >= remaining
        if early and refresh not in self._flights:
            EARLY.inc()
            self._start(refresh, self._load(key, ttl_s, load))
        return entry[2]

    async def delete(self, *keys: str) -> None:
        """Delete these keys. While Valkey is unreachable, they expire by their TTL."""
        try:
            command = partial(self._client.delete, *(self._prefix + key for key in keys))
            await _run("DELETE", " ".join(keys), command)
        except UNREACHABLE as error:
            self._stop_using(error)

    async def flush(self) -> int:
        """Delete all keys of this service; returns the number. Raises RedisError."""
        pattern = self._prefix + "*"
        keys = [key async for key in self._client.scan_iter(match=pattern, count=1000)]
        if keys:
            await self._client.delete(*keys)
        return len(keys)

    def _start(self, key: str, work: Coroutine[Any, Any, bytes]) -> asyncio.Task[bytes]:
        task = asyncio.create_task(work)
        self._flights[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def _finished(self, key: str, task: asyncio.Task[bytes]) -> None:
        self._flights.pop(key, None)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not warn: nothing waits for an early refresh

    async def _load(self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]) -> bytes:
        locked = await self._lock(key)
        if locked is False:
            value = await self._await_other(key)
            if value is not None:
                return value
        started = time.monotonic()
        try:
            value = await load()
        except BaseException:
            await self.delete(f"{key}:lock")  # or the next caller waits for a load that has ended
            raise
        await self._put(key, value, ttl_s, time.monotonic() - started)
        return value

    async def _await_other(self, key: str) -> bytes | None:
        """The value that the lock's holder loads, or None if it does not before the lock expires."""
        give_up = time.monotonic() + LOCK_S
        while time.monotonic() < give_up and not self._unreachable_now:
            await asyncio.sleep(LOCK_POLL_S)
            entry = await self._get(key)
            if entry is not None and entry[0] > time.time():
                return entry[2]
        return None

    @property
    def _unreachable_now(self) -> bool:
        return self._pinging is not None

    def _stop_using(self, error: BaseException) -> None:
        """Do not use Valkey until it answers a ping: each try would cost ANSWER_S."""
        if self._pinging is None:
            log.warning(
                "Valkey unreachable, loading from the source: %s", error or type(error).__name__
            )
            self._pinging = asyncio.create_task(self._ping_until_answer())

    async def _ping_until_answer(self) -> None:
        try:
            while True:
                await asyncio.sleep(PING_S)
                with suppress(*UNREACHABLE):
                    if await _run("PING", "", self._client.ping) is not DROPPED:
                        return
        finally:
            self._pinging = None

    async def _get(self, key: str) -> tuple[float, float, bytes] | None:
        raw = await self._command("GET", key, partial(self._client.get, self._prefix + key))
        if raw is DROPPED and self._unreachable_now:
            DOWN.inc()
        if raw is None or raw is DROPPED:
            return None
        try:
            expires, load_s, value = raw.split(b" ", 2)
            return float(expires), float(load_s), value
        except ValueError:
            return None

    async def _put(self, key: str, value: bytes, ttl_s: float, load_s: float) -> None:
        entry = b"%f %f %s" % (time.time() + ttl_s, load_s, value)
        pipe = self._client.pipeline(transaction=False)
        pipe.set(self._prefix + key, entry, px=int(ttl_s * 1000))
        pipe.delete(f"{self._prefix}{key}:lock")
        await self._command("SET", key, pipe.execute)

    async def _lock(self, key: str) -> bool | None:
        """True: this process has the lock. False: another process loads. None: Valkey is unreachable."""
        lock = f"{self._prefix}{key}:lock"
        command = partial(self._client.set, lock, b"1", nx=True, px=int(LOCK_S * 1000))
        locked = await self._command("LOCK", key, command)
        return None if locked is DROPPED else bool(locked)

    async def _command(self, method: str, key: str, command: Callable[[], Any]) -> Any:
        """Valkey's answer; DROPPED if Valkey is unreachable, or if a fault drops the command."""
        if not self._unreachable_now:
            try:
                return await _run(method, key, command)
            except UNREACHABLE as error:
                if not self._bypass:
                    raise
                self._stop_using(error)
        return DROPPED


async def _run(method: str, key: str, command: Callable[[], Any]) -> Any:
    """Run one command on Valkey, in its own span."""
    span = signals.store_span(method, _SERVER)
    try:
        answer = await _with_faults(method, key, command)
    except BaseException:
        signals.end_span(span, failed=True)
        raise
    signals.end_span(span)
    return answer


async def _with_faults(method: str, key: str, command: Callable[[], Any]) -> Any:
    """Run the command with the lab's faults. They get no more time than a slow Valkey."""
    injector = armed()
    if injector is None:
        return await command()

    async def proceed(discard: bool) -> Any:
        return await command()

    async with asyncio.timeout(ANSWER_S):
        return await injector.run(Exchange("cache", method, key, fail=_unreachable), proceed)


async def _unreachable(_: str) -> None:
    raise ConnectionError("injected: Valkey cannot be reached")


def open_cache(url: str, prefix: str, *, bypass: bool = True) -> Cache:
    """A cache on the Valkey at `url`. It connects at the first use and waits ANSWER_S for an answer."""
    expose(LOOKUPS)
    client = redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        max_connections=64,
        retry=Retry(NoBackoff(), 0),  # none: loading from the source is better than waiting again
    )
    return Cache(client, prefix, bypass=bypass)
