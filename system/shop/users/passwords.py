"""argon2id in a few threads of its own, so that a hash never holds up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.telemetry.metrics import expose, gauge
from shop.users.domain import TooBusyError

Result = TypeVar("Result")

# OWASP Password Storage Cheat Sheet: m=19456 KiB (19 MiB), t=2, p=1
WAITING = gauge("passwords_waiting", "Password hashes in work or in line")
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


class ArgonPasswords:
    """Hashes and checks, `threads` at a time (19 MiB each) and `waiting_max` in line behind them."""

    def __init__(self, threads: int = 2, waiting_max: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threads + waiting_max
        self._admitted = 0
        WAITING.set_function(lambda: self._admitted)
        expose(WAITING)
        # what an unknown address is checked against, so that its answer takes as long
        self._dummy = HASHER.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        """Raises TooBusyError if the line is full."""
        return await self._in_thread(lambda: HASHER.hash(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password of this hash; never for None. Raises TooBusyError."""
        verified = await self._in_thread(lambda: _verify(password_hash or self._dummy, password))
        return verified and password_hash is not None

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._admitted >= self._room:
            raise TooBusyError("too many password checks are waiting; try again in a moment")
        self._admitted += 1
        try:
            # a caller that goes away takes its waiting work out of the line
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._admitted -= 1


def _verify(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
