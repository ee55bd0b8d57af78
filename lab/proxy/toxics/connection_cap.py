"""connection_cap lets so many clients in at once; the others wait their turn, or are refused with RST."""

import enum
from dataclasses import dataclass

from lab.proxy.toxics.attributes import choice, integer
from lab.proxy.toxics.stage import Stage

WHEN_FULL = ("queue", "refuse")


class Admission(enum.Enum):
    """What becomes of a client before anybody is dialled for it."""

    IN = "in"
    WAITS = "waits"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ConnectionCapAttributes:
    """At most `connections` are open; at 0 nobody gets in. `when_full` is queue or refuse."""

    connections: int = integer()
    when_full: str = choice(WHEN_FULL)

    def admission(self, inside: int) -> Admission:
        if inside < self.connections:
            return Admission.IN
        return Admission.WAITS if self.when_full == "queue" else Admission.REFUSED


class ConnectionCap(Stage[ConnectionCapAttributes]):
    """Passes all bytes: it acts at the door (listener.py), not in the pipe."""

    type_name = "connection_cap"
    attributes_type = ConnectionCapAttributes
    ours = True

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.emit(data, arrived_s)
