"""reset_peer waits for the first data, then T, then sends RST to both peers."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import End, HoldingStage, StageContext


@dataclass(frozen=True, slots=True)
class ResetPeerAttributes:
    """`timeout` in ms; it starts after `bytes` (ours) have passed."""

    timeout: int = integer()
    bytes: int = integer(ours=True)


class ResetPeer(HoldingStage[ResetPeerAttributes]):
    type_name = "reset_peer"
    attributes_type = ResetPeerAttributes

    def __init__(self, attributes: ResetPeerAttributes, context: StageContext) -> None:
        super().__init__(attributes, context)
        self._passed = 0
        self._started_s: float | None = None

    def feed(self, data: bytes, arrived_s: float) -> None:
        passing = min(len(data), self.attributes.bytes - self._passed)
        if passing > 0 and self._started_s is None:
            self._passed += passing
            self.emit(data[:passing], arrived_s)
            data = data[passing:]
            if self._passed < self.attributes.bytes:
                return
        if data:
            # held, not dropped: the connection survives if the toxic is removed in time
            self.hold(data, arrived_s)
        self._start()

    def end(self, how: End) -> None:
        self.ending = how
        self._start()

    def on_timer(self) -> None:
        self.hit(self.held)
        self.queue.clear()
        self.held = 0
        self.ending = None
        with_rst = self.present_at_open or self.deviations.resets_reach_open_connections
        self.emit_end(End.RST if with_rst else End.CUT)

    def updated(self) -> None:
        if self._started_s is not None:
            self._schedule(self._started_s)

    def _start(self) -> None:
        if self._started_s is None:
            self._started_s = self.clock.now_s()
            self._schedule(self._started_s)

    def _schedule(self, started_s: float) -> None:
        if self.attributes.timeout <= 0:
            self.on_timer()
        else:
            self.wake_at(started_s + self.attributes.timeout / 1e3)
