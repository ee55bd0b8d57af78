"""sql_error: PostgreSQL itself fails the statement, e.g. with 40P01 (deadlock) or 40001 (serialization)."""

import re
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultError, Proceed


@dataclass(frozen=True)
class SqlError(Fault):
    """Raised on the server in place of the statement: the transaction around it is really aborted."""

    kind = "sql_error"
    doc = (
        "the server fails the statement with `sqlstate` (40P01 deadlock, 40001 serialization, ...)"
    )
    points = ("database",)
    sqlstate: str = "40P01"

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9A-Z]{5}", self.sqlstate) or self.sqlstate[:2] in ("00", "01"):
            raise FaultError(
                f"sql_error.sqlstate: expected five digits or capitals, not a success,"
                f" got {self.sqlstate!r}"
            )

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.exchange.fail(self.sqlstate)
