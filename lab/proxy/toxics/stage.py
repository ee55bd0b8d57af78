"""The base classes of toxics: a stage acts on one direction of one connection."""

import enum
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, Protocol, TypeVar

from lab.proxy.data_path.timers import Clock, Timer
from lab.proxy.deviations import Deviations
from lab.proxy.toxic_record import Record

A = TypeVar("A")
KIB = 1024


class End(enum.Enum):
    """How a stream ends: FIN half-closes, RST resets, CUT closes both directions."""

    FIN = "fin"
    RST = "rst"
    CUT = "cut"


class Sink(Protocol):
    """Receives a stage's output: the next stage, or the sender."""

    def feed(self, data: bytes, arrived_s: float) -> None: ...

    def end(self, how: End) -> None: ...


@dataclass(slots=True)
class StageContext:
    """What a stage receives at construction, its clock and random generator included."""

    clock: Clock
    rng: Random
    record: Record
    deviations: Deviations
    present_at_open: bool  # True if the connection opened after the toxic was added


class Stage(ABC, Generic[A]):
    """Receives chunks by `feed` and passes them on by `emit`; `end` passes the end of the stream.

    `arrived_s` is the monotonic instant at which the chunk arrived, or was due from the previous
    stage. Measure delays from it, so that the delays of several stages add up without error.
    """

    type_name: ClassVar[str]
    attributes_type: ClassVar[type]
    ours: ClassVar[bool] = False  # True for a type that Toxiproxy does not have
    capacity: int = 64 * KIB  # the link stops reading while the stage holds this many bytes

    def __init__(self, attributes: A, context: StageContext) -> None:
        self.attributes = attributes
        self.clock = context.clock
        self.rng = context.rng
        self.record = context.record
        self.deviations = context.deviations
        self.present_at_open = context.present_at_open
        self.next: Sink
        self.held = 0
        self.affected = False
        # set by the link: it may read again when the stage holds less
        self.on_progress: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._closed = False

    def start(self) -> None:
        """Called when the stage enters the chain."""

    @abstractmethod
    def feed(self, data: bytes, arrived_s: float) -> None:
        """Called for each chunk."""

    def end(self, how: End) -> None:
        """Called when no more chunks follow."""
        self.emit_end(how)

    def updated(self) -> None:
        """Called after `attributes` changed."""

    def release(self) -> None:
        """Called on removal: pass on everything held, at once, without waiting."""

    def on_timer(self) -> None:
        """Called at the instant given to `wake_at`."""

    def emit(self, data: bytes, arrived_s: float) -> None:
        self.next.feed(data, arrived_s)

    def emit_end(self, how: End) -> None:
        self.next.end(how)

    def hit(self, size: int) -> None:
        """Counts one chunk (or one close, with size 0) that this toxic changed."""
        if not self.affected:
            self.affected = True
            self.record.affected += 1
        self.record.hit(size)

    def wake_at(self, when_s: float) -> None:
        """Schedules `on_timer` at a monotonic instant, in place of an earlier request."""
        self.cancel_timer()
        if not self._closed:
            self._timer = self.clock.at(when_s, self._timer_fired)

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Ends the stage: its timer cannot fire any more."""
        self._closed = True
        self.cancel_timer()

    def _timer_fired(self) -> None:
        self._timer = None
        self.on_timer()
        if self.on_progress is not None:
            self.on_progress()


class HoldingStage(Stage[A]):
    """A stage that holds chunks in order, and the end behind them."""

    def __init__(self, attributes: A, context: StageContext) -> None:
        super().__init__(attributes, context)
        self.queue: deque[tuple[bytes, float]] = deque()
        self.ending: End | None = None

    def hold(self, data: bytes, at_s: float) -> None:
        self.queue.append((data, at_s))
        self.held += len(data)

    def take(self) -> tuple[bytes, float]:
        data, at_s = self.queue.popleft()
        self.held -= len(data)
        return data, at_s

    def end(self, how: End) -> None:
        if self.queue:
            self.ending = how
        else:
            self.emit_end(how)

    def end_if_waiting(self) -> None:
        """Passes a pending end on if the queue is empty; call it after `take`."""
        if not self.queue and self.ending is not None:
            how, self.ending = self.ending, None
            self.emit_end(how)

    def release(self) -> None:
        self.cancel_timer()
        while self.queue:
            self.emit(*self.take())
        self.end_if_waiting()
