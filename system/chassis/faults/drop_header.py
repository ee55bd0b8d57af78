"""drop_header: a header is not sent, e.g. the idempotency key, the trace or the message id."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultError, Proceed


@dataclass(frozen=True)
class DropHeader(Fault):
    kind = "drop_header"
    doc = "the header `name` (e.g. idempotency-key, traceparent) is not sent"
    points = ("outbound", "publish")
    name: str

    def __post_init__(self) -> None:
        if not self.name or not self.name.isascii() or any(c in self.name for c in " :\r\n"):
            raise FaultError(f"drop_header.name: expected a header's name, got {self.name!r}")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        headers = proceed.exchange.headers
        for name in [each for each in headers if each.lower() == self.name.lower()]:
            del headers[name]
        return await proceed()
