"""slow_close delays only the close: data passes at once, the end passes after D."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import End, Stage


@dataclass(frozen=True, slots=True)
class SlowCloseAttributes:
    """`delay` in ms."""

    delay: int = integer()


class SlowClose(Stage[SlowCloseAttributes]):
    type_name = "slow_close"
    attributes_type = SlowCloseAttributes
    _ending: tuple[End, float] | None = None

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.emit(data, arrived_s)

    def end(self, how: End) -> None:
        self.hit(0)
        self._ending = how, self.clock.now_s()
        self.updated()

    def on_timer(self) -> None:
        if self._ending is not None:
            how, self._ending = self._ending[0], None
            self.emit_end(how)

    def updated(self) -> None:
        if self._ending is not None:
            self.wake_at(self._ending[1] + self.attributes.delay / 1e3)

    def release(self) -> None:
        self.cancel_timer()
        self.on_timer()
