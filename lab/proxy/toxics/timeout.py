"""timeout drops all data and closes the connection after T, or when the toxic is removed."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import End, Stage


@dataclass(frozen=True, slots=True)
class TimeoutAttributes:
    """`timeout` in ms; 0 means never."""

    timeout: int = integer()


class Timeout(Stage[TimeoutAttributes]):
    type_name = "timeout"
    attributes_type = TimeoutAttributes

    def start(self) -> None:
        self.cancel_timer()
        if self.attributes.timeout > 0:
            self.wake_at(self.clock.now_s() + self.attributes.timeout / 1e3)

    updated = start

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.hit(len(data))
        if not self.deviations.timeout_counts_from_its_start:
            self.start()  # Toxiproxy restarts the timeout with each chunk

    def on_timer(self) -> None:
        self.hit(0)
        self.emit_end(End.CUT)

    def release(self) -> None:
        self.cancel_timer()
        # the stream lacks bytes, so the peers must not continue with it
        self.emit_end(End.CUT)
