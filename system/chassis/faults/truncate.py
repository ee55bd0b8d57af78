"""truncate: the answer's body ends early; its length was announced in full, then the connection closes."""

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from chassis.faults.fault import Proceed


@dataclass(frozen=True)
class Truncate:
    kind: ClassVar[str] = "truncate"
    doc: ClassVar[str] = "only the first `keep_bytes` of the answer's body are sent, then a close"
    points: ClassVar[tuple[str, ...]] = ("inbound",)
    keep_bytes: int = 0

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        proceed.exchange.changes.append(lambda content: content[: int(self.keep_bytes)])
        return await proceed()
