"""fd_limit: no more files and sockets: open, connect and accept fail with EMFILE."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from chassis.faults.fault import PROCESS, FaultError
from chassis.faults.host import Tenure

LEAST = 8


@dataclass(frozen=True)
class FdLimit:
    """Only the soft limit moves. New connections to the lab's controls need a descriptor as well:
    with none to spare the fault ends by its TTL, or over a connection that is open already."""

    kind: ClassVar[str] = "fd_limit"
    doc: ClassVar[str] = "the soft limit of open files is lowered to `limit`"
    points: ClassVar[tuple[str, ...]] = (PROCESS,)
    single: ClassVar[bool] = True
    limit: int

    @asynccontextmanager
    async def hold(self, tenure: Tenure) -> AsyncIterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lower = int(self.limit)
        if not LEAST <= lower < soft:
            raise FaultError(
                f"fd_limit.limit: expected {LEAST} up to less than the {soft} in force, got {lower}"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
        try:
            tenure.hit()
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
