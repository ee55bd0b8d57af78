"""noop passes everything unchanged. Copy this file to write a new toxic."""

from dataclasses import dataclass

from lab.proxy.toxics.stage import Stage


@dataclass(frozen=True, slots=True)
class NoopAttributes:
    """noop has no attributes."""


class Noop(Stage[NoopAttributes]):
    type_name = "noop"
    attributes_type = NoopAttributes

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.emit(data, arrived_s)
