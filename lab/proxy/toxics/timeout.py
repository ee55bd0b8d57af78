"""timeout drops all data, and closes the connection after T; its removal closes it too."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import End, Stage


@dataclass(frozen=True, slots=True)
class TimeoutAttributes:
    """`timeout` in ms; 0 never closes."""

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
            self.start()  # Toxiproxy's clock starts again with each chunk

    def on_timer(self) -> None:
        self.hit(0)
        self.emit_end(End.CUT)

    def release(self) -> None:
        self.cancel_timer()
        # bytes are missing from the stream: nobody may go on reading it
        self.emit_end(End.CUT)
