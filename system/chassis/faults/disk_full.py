"""disk_full: no space is left where the service stores: in its database, or under its own log."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import asyncpg

from chassis.faults.fault import PROCESS, FaultError, Proceed
from chassis.faults.host import Tenure
from chassis.faults.log_files import LogFiles

FULL = "/dev/full"  # a device on which each write fails with ENOSPC


@dataclass(frozen=True)
class DiskFull:
    """At the database PostgreSQL itself refuses what writes, as a read-only transaction: so reads go on and
    the transaction is aborted for real. The error's code is ours: what a server without space says.
    """

    kind: ClassVar[str] = "disk_full"
    doc: ClassVar[str] = (
        "database: what writes is refused as by a server without space, with 53100, and reads go on;"
        " process: each write to the service's log fails with the kernel's own ENOSPC"
    )
    points: ClassVar[tuple[str, ...]] = ("database", PROCESS)
    single: ClassVar[bool] = True

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.read_only = True
        try:
            return await proceed()
        except asyncpg.ReadOnlySQLTransactionError:
            raise asyncpg.DiskFullError(
                "injected: could not extend file: No space left on device"
            ) from None

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        try:
            full = os.open(FULL, os.O_WRONLY)
        except OSError as error:
            raise FaultError(f"disk_full: this system has no {FULL} ({error.strerror})") from None
        with LogFiles() as log:
            log.lead_to(full)
            os.close(full)
            tenure.hit()
            yield
