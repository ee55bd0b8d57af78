"""lock: another transaction holds a table of this service's database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from chassis.faults.fault import PROCESS, Fault, FaultError
from chassis.faults.host import Holding

WAIT_MS = 2000


@dataclass(frozen=True)
class Lock(Fault):
    """Uses its own connection, not the pool's. If the process ends, the server rolls the transaction back."""

    kind = "lock"
    doc = "a transaction holds `table` in `mode` (exclusive: writes wait; access exclusive: reads too)"
    points = (PROCESS,)
    table: str
    mode: str = "exclusive"

    def __post_init__(self) -> None:
        if self.mode not in ("exclusive", "access exclusive"):
            raise FaultError(
                f"lock.mode: expected exclusive or access exclusive, got {self.mode!r}"
            )

    @asynccontextmanager
    async def hold(self, holding: Holding) -> AsyncIterator[None]:
        if not holding.host.database_url:
            raise FaultError("lock: this service has no database")
        conn: asyncpg.Connection = await asyncpg.connect(holding.host.database_url, timeout=2)
        try:
            if await conn.fetchval("SELECT to_regclass($1)", _quoted(self.table)) is None:
                raise FaultError(f"lock.table: there is no table {self.table!r}")
            # the server ends the idle transaction with its connection
            await conn.execute(f"BEGIN; SET LOCAL lock_timeout = {WAIT_MS}")
            try:
                await conn.execute(f"LOCK TABLE {_quoted(self.table)} IN {self.mode.upper()} MODE")
            except asyncpg.LockNotAvailableError:
                raise FaultError(
                    f"lock: {self.table} was in use for {WAIT_MS} ms, try again"
                ) from None
            holding.hit()
            yield
        finally:
            conn.terminate()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
