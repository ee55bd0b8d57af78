"""connection_cap limits the open connections; further clients wait in order, or get RST."""

import enum
from dataclasses import dataclass

from lab.proxy.toxics.attributes import choice, integer
from lab.proxy.toxics.stage import Stage

WHEN_FULL = ("queue", "refuse")


class Admission(enum.Enum):
    """The decision about a client before its upstream connection is opened."""

    IN = "in"
    WAITS = "waits"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ConnectionCapAttributes:
    """At most `connections` are open; 0 admits no client. `when_full` is queue or refuse."""

    connections: int = integer()
    when_full: str = choice(WHEN_FULL)

    def admission(self, inside: int) -> Admission:
        if inside < self.connections:
            return Admission.IN
        return Admission.WAITS if self.when_full == "queue" else Admission.REFUSED


class ConnectionCap(Stage[ConnectionCapAttributes]):
    """Passes all bytes: the cap acts in the listener (listener.py), not in the chain."""

    type_name = "connection_cap"
    attributes_type = ConnectionCapAttributes
    ours = True

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.emit(data, arrived_s)
