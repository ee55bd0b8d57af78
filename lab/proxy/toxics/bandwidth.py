"""bandwidth limits a connection to R KB/s (1 KB = 1,000 bytes)."""

from dataclasses import dataclass

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import HoldingStage, StageContext

AHEAD_S = 0.05
PIECE_S = 0.1  # a chunk that takes longer leaves in pieces


@dataclass(frozen=True, slots=True)
class BandwidthAttributes:
    """`rate` in KB/s; 0 lets nothing pass."""

    rate: int = integer()


class Bandwidth(HoldingStage[BandwidthAttributes]):
    type_name = "bandwidth"
    attributes_type = BandwidthAttributes

    def __init__(self, attributes: BandwidthAttributes, context: StageContext) -> None:
        super().__init__(attributes, context)
        self._free_s = 0.0  # when the limited line has sent all data that left so far
        self._piece = 0
        self._size()

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.hold(data, arrived_s)
        self.hit(len(data))
        if len(self.queue) == 1:
            self._free_s = max(self._free_s, arrived_s)
            self._send_next()

    def on_timer(self) -> None:
        # catch up on a late timer, but not on a long stall: that would be a burst
        self._free_s = max(self._free_s, self.clock.now_s() - PIECE_S)
        data, _ = self.take()
        if len(data) > self._piece:
            self.queue.appendleft((data[self._piece :], self._free_s))
            self.held += len(data) - self._piece
        self.emit(data[: self._piece], self._free_s)
        if self.queue:
            self._send_next()
        self.end_if_waiting()

    def updated(self) -> None:
        self.cancel_timer()
        self._size()
        if self.queue:
            self._free_s = self.clock.now_s()
            self._send_next()

    def _size(self) -> None:
        # the next chunk must arrive before the last has left, or the line falls idle
        self.capacity = max(type(self).capacity, int(self.attributes.rate * 1000 * AHEAD_S))

    def _send_next(self) -> None:
        bytes_per_s = self.attributes.rate * 1000
        if bytes_per_s <= 0:
            return
        self._piece = min(len(self.queue[0][0]), int(bytes_per_s * PIECE_S))
        self._free_s += self._piece / bytes_per_s
        self.wake_at(self._free_s)
