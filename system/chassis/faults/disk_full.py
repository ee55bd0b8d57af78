"""disk_full: no space is left for the service's data: in its database, or under its log."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import asyncpg

from chassis.faults.fault import PROCESS, Fault, FaultError, Proceed
from chassis.faults.host import Holding
from chassis.faults.log_files import LogFiles

FULL = "/dev/full"  # a device on which each write fails with ENOSPC


@dataclass(frozen=True)
class DiskFull(Fault):
    """At the database, PostgreSQL itself refuses writes in a read-only transaction: reads continue, and the
    transaction is really aborted. Only the error code is replaced, by that of a server without space.
    """

    kind = "disk_full"
    doc = (
        "database: writes are refused with 53100, as by a server without space, and reads continue;"
        " process: each write to the service's log fails with the kernel's own ENOSPC"
    )
    points = ("database", PROCESS)
    single = True

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.read_only = True
        try:
            return await proceed()
        except asyncpg.ReadOnlySQLTransactionError:
            raise asyncpg.DiskFullError(
                "injected: could not extend file: No space left on device"
            ) from None

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        try:
            full = os.open(FULL, os.O_WRONLY)
        except OSError as error:
            raise FaultError(f"disk_full: this system has no {FULL} ({error.strerror})") from None
        with LogFiles() as log:
            log.redirect_to(full)
            os.close(full)
            holding.hit()
            yield
