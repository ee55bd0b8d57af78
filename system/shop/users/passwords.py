"""Hashes passwords with argon2id in its own threads, so that a hash never blocks the event loop."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.telemetry.metrics import expose, gauge
from shop.users.domain import TooBusyError

Result = TypeVar("Result")
NICENESS = 10

# OWASP Password Storage Cheat Sheet: m=19456 KiB (19 MiB), t=2, p=1
WAITING = gauge("passwords_waiting", "Password hashes running or waiting")
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


class ArgonPasswords:
    """Runs up to `threads` hashes at a time (19 MiB each); up to `waiting_max` more may wait."""

    def __init__(self, threads: int = 2, waiting_max: int = 64) -> None:
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix="argon2", initializer=_yield_to_others
        )
        self._room = threads + waiting_max
        self._admitted = 0
        WAITING.set_function(lambda: self._admitted)
        expose(WAITING)
        # checked for an unknown address, so that its answer takes as long
        self._dummy = HASHER.hash("not a password of any user")

    async def hash(self, password: str) -> str:
        """Raises TooBusyError if too many hashes wait."""
        return await self._in_thread(lambda: HASHER.hash(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password has this hash; False for None. Raises TooBusyError."""
        verified = await self._in_thread(lambda: _verify(password_hash or self._dummy, password))
        return verified and password_hash is not None

    def close(self) -> None:
        """Cancel waiting hashes. Running ones finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._admitted >= self._room:
            raise TooBusyError("too many password checks are waiting; try again in a moment")
        self._admitted += 1
        try:
            # when the caller is cancelled, so is its waiting hash
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._admitted -= 1


def _yield_to_others() -> None:
    """Lower this thread's priority: under a flood of log-ins everything else comes first. Linux only."""
    if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
