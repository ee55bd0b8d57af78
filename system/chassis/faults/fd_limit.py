"""fd_limit: no new files and sockets: open, connect and accept fail with EMFILE."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding

LEAST = 8


@dataclass(frozen=True)
class FdLimit(Fault):
    """Changes the soft limit only. A new connection to the lab routes needs a descriptor too: without a free one
    the fault ends at its TTL, or by a request on an open connection.
    """

    kind = "fd_limit"
    doc = "the soft limit of open files is lowered to `limit`"
    points = (PROCESS,)
    single = True
    limit: int

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lower = int(self.limit)
        if not LEAST <= lower < soft:
            raise FaultError(
                f"fd_limit.limit: expected {LEAST} up to less than the current {soft}, got {lower}"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
        try:
            holding.hit()
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
