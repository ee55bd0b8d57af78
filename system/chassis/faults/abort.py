"""abort: answers with an error, before the handler (no effect) or after it (effect done, reply lost)."""

from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import Fault, FaultAbortedError, FaultError, Proceed


@dataclass(frozen=True)
class Abort(Fault):
    """`when`: `before` does not do the work, `after` does it and loses the reply (indefinite)."""

    kind = "abort"
    doc = "answers with `status`; `when` is before or after the handler ran"
    points = ("inbound", "outbound")
    status: int = 503
    when: str = "before"

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise FaultError(f"abort.status: expected 400 to 599, got {self.status}")
        if self.when not in ("before", "after"):
            raise FaultError(f"abort.when: expected before or after, got {self.when!r}")

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        if self.when == "after":
            await proceed(discard=True)
        raise FaultAbortedError(int(self.status))
