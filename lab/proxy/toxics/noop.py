"""noop passes everything through untouched: the file to copy when writing a toxic."""

from dataclasses import dataclass

from lab.proxy.toxics.stage import Stage


@dataclass(frozen=True, slots=True)
class NoopAttributes:
    """It has none."""


class Noop(Stage[NoopAttributes]):
    type_name = "noop"
    attributes_type = NoopAttributes

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.emit(data, arrived_s)
