"""latency delays each chunk by L +- J after its arrival, pipelined: delays do not add up in a queue."""

from collections import deque
from dataclasses import dataclass
from random import Random

from lab.proxy.toxics.attributes import choice, integer
from lab.proxy.toxics.stage import KIB, HoldingStage, StageContext

DISTRIBUTIONS = ("uniform", "normal", "pareto")


@dataclass(frozen=True, slots=True)
class LatencyAttributes:
    """`latency` and `jitter` in ms. The delay is uniform in [L-J, L+J), normal with mean L and
    deviation J, or pareto: at least L, shape 3, with a mean of L+J.
    """

    latency: int = integer()
    jitter: int = integer()
    distribution: str = choice(DISTRIBUTIONS)


class Latency(HoldingStage[LatencyAttributes]):
    type_name = "latency"
    attributes_type = LatencyAttributes
    capacity = 16 * KIB * KIB  # a delay must not throttle: at 100 ms this is 160 MB/s

    def __init__(self, attributes: LatencyAttributes, context: StageContext) -> None:
        super().__init__(attributes, context)
        self._due_s = 0.0
        self._arrivals: deque[float] = deque()

    def feed(self, data: bytes, arrived_s: float) -> None:
        # the stream keeps its order: a chunk with a short delay waits for the one ahead
        self._due_s = max(self._due_s, arrived_s + delay_s(self.attributes, self.rng))
        if self._due_s > arrived_s:
            self.hit(len(data))
        self.hold(data, self._due_s)
        self._arrivals.append(arrived_s)
        if len(self.queue) == 1:
            self.wake_at(self._due_s)

    def on_timer(self) -> None:
        now_s = self.clock.now_s()
        while self.queue and self.queue[0][1] <= now_s:
            self._arrivals.popleft()
            self.emit(*self.take())
        if self.queue:
            self.wake_at(self.queue[0][1])
        self.end_if_waiting()

    def updated(self) -> None:
        waiting = [data for data, _ in self.queue]
        arrivals = list(self._arrivals)
        self.queue.clear()
        self._due_s = 0.0
        for data, arrived_s in zip(waiting, arrivals, strict=True):
            self._due_s = max(self._due_s, arrived_s + delay_s(self.attributes, self.rng))
            self.queue.append((data, self._due_s))
        if self.queue:
            self.wake_at(self.queue[0][1])

    def release(self) -> None:
        self._arrivals.clear()
        super().release()


def delay_s(attributes: LatencyAttributes, rng: Random) -> float:
    """Draws one delay in seconds, never negative."""
    mean_s, jitter_s = attributes.latency / 1e3, attributes.jitter / 1e3
    if jitter_s <= 0:
        return max(0.0, mean_s)
    if attributes.distribution == "normal":
        return max(0.0, rng.gauss(mean_s, jitter_s))
    if attributes.distribution == "pareto":
        # a Pareto of shape 3 less 1 has mean 1/2
        return max(0.0, mean_s + jitter_s * 2 * (rng.paretovariate(3) - 1))
    return max(0.0, mean_s + jitter_s * (2 * rng.random() - 1))
