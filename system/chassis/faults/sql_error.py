"""sql_error: PostgreSQL itself fails the statement with a SQLSTATE: 40P01 deadlock, 40001 serialization."""

import re
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import FaultError, Proceed


@dataclass(frozen=True)
class SqlError:
    """Raised on the server, in the statement's place: the transaction around it is aborted for real."""

    kind: ClassVar[str] = "sql_error"
    doc: ClassVar[str] = (
        "the server fails the statement with `sqlstate` (40P01 deadlock, 40001 serialization, ...)"
    )
    points: ClassVar[tuple[str, ...]] = ("database",)
    sqlstate: str = "40P01"

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9A-Z]{5}", self.sqlstate) or self.sqlstate[:2] in ("00", "01"):
            raise FaultError(
                f"sql_error.sqlstate: expected five digits or capitals, not a success,"
                f" got {self.sqlstate!r}"
            )

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        await proceed.exchange.fail(self.sqlstate)
