"""limit_data closes the connection after exactly N bytes."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import End, Stage


@dataclass(frozen=True, slots=True)
class LimitDataAttributes:
    """`bytes` that pass, counted from when the toxic acts on the connection."""

    bytes: int = integer()


class LimitData(Stage[LimitDataAttributes]):
    type_name = "limit_data"
    attributes_type = LimitDataAttributes
    _passed = 0
    _closed = False

    def feed(self, data: bytes, arrived_s: float) -> None:
        if self._closed:
            return
        passing = data[: max(0, self.attributes.bytes - self._passed)]
        if passing:
            self._passed += len(passing)
            self.emit(passing, arrived_s)
        if self._passed >= self.attributes.bytes:
            self._closed = True
            self.hit(len(data) - len(passing))
            self.emit_end(End.CUT)

    def end(self, how: End) -> None:
        if not self._closed:
            self.emit_end(how)
