"""slicer cuts chunks into small slices, with a delay between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lab.proxy.toxics.attributes import integer
from lab.proxy.toxics.stage import HoldingStage, StageContext

BATCH = 64  # slices sent before the event loop gets a turn


@dataclass(frozen=True, slots=True)
class SlicerAttributes:
    """`average_size` and `size_variation` in bytes, `delay` in us. An average of 0 does not cut."""

    average_size: int = integer()
    size_variation: int = integer()
    delay: int = integer()


class Slicer(HoldingStage[SlicerAttributes]):
    type_name = "slicer"
    attributes_type = SlicerAttributes

    def __init__(self, attributes: SlicerAttributes, context: StageContext) -> None:
        super().__init__(attributes, context)
        self._due_s = 0.0
        self._cut = 0  # bytes of the first chunk that have left
        self._sizes: Iterator[int] = iter(())

    def feed(self, data: bytes, arrived_s: float) -> None:
        self.hold(data, arrived_s)
        self.hit(len(data))
        if len(self.queue) == 1:
            self._due_s = max(self._due_s, arrived_s)
            self._aim()
            self.on_timer()

    def on_timer(self) -> None:
        for _ in range(BATCH):
            if not self.queue or self._due_s > self.clock.now_s():
                break
            self._send_slice()
        if self.queue:
            self.wake_at(max(self._due_s, self.clock.now_s()))
        self.end_if_waiting()

    def updated(self) -> None:
        if self.queue:
            self._aim()
            self._due_s = self.clock.now_s()
            self.wake_at(self._due_s)

    def release(self) -> None:
        if self.queue:
            data, arrived_s = self.queue[0]
            self.queue[0] = data[self._cut :], arrived_s  # without the bytes already sent
            self._cut = 0
        super().release()

    def _aim(self) -> None:
        left = len(self.queue[0][0]) - self._cut
        self._sizes = slice_sizes(left, self.attributes, self.rng)

    def _send_slice(self) -> None:
        data, _ = self.queue[0]
        start, self._cut = self._cut, self._cut + next(self._sizes)
        self.held -= self._cut - start
        self.emit(data[start : self._cut], self._due_s)
        self._due_s += self.attributes.delay / 1e6
        if self._cut == len(data):
            self._cut = 0
            self.queue.popleft()
            if self.queue:
                self._aim()


def slice_sizes(total: int, attributes: SlicerAttributes, rng: Random) -> Iterator[int]:
    """Sizes that sum to `total`: halved, with variation, until near the average, as Toxiproxy does."""
    average, variation = attributes.average_size, attributes.size_variation
    if average <= 0:
        yield total
        return
    todo = [total]
    while todo:
        size = todo.pop()
        if size - average <= variation or size < 2:
            yield size
            continue
        middle = size // 2
        if variation > 0:
            middle += rng.randrange(-variation, variation)
        left = min(max(middle, 1), size - 1)  # a wide variation must not leave the chunk
        todo += (size - left, left)
