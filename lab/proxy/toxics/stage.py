"""What every toxic is made of: one stage in the pipe of one direction of one connection."""

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
    """How a pipe ends: half-closed, reset with RST, or both directions closed."""

    FIN = "fin"
    RST = "rst"
    CUT = "cut"


class Sink(Protocol):
    """Where a stage's output goes: the next stage, or the socket."""

    def feed(self, data: bytes, arrived_s: float) -> None: ...

    def end(self, how: End) -> None: ...


@dataclass(slots=True)
class StageContext:
    """What a stage is given: time and chance are passed in."""

    clock: Clock
    rng: Random
    record: Record
    deviations: Deviations
    present_at_open: bool  # was the toxic there when the connection opened?


class Stage(ABC, Generic[A]):
    """Gets chunks by `feed`, passes them on by `emit`; the default changes nothing.

    `arrived_s` is the monotonic instant at which the chunk arrived, or was due from the stage
    before: count delays from it and stages add up without gathering error.
    """

    type_name: ClassVar[str]
    attributes_type: ClassVar[type]
    ours: ClassVar[bool] = False  # Toxiproxy does not have it
    capacity: int = 64 * KIB  # bytes held above which the link stops reading

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
        # the link's: it may read again once we hold less
        self.on_progress: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._closed = False

    def start(self) -> None:
        """The stage was put into the pipe."""

    @abstractmethod
    def feed(self, data: bytes, arrived_s: float) -> None:
        """A chunk came."""

    def end(self, how: End) -> None:
        """Nothing comes any more."""
        self.emit_end(how)

    def updated(self) -> None:
        """`attributes` changed."""

    def release(self) -> None:
        """The toxic goes: let go of everything held, now. Must not wait."""

    def on_timer(self) -> None:
        """The instant given to `wake_at` has come."""

    def emit(self, data: bytes, arrived_s: float) -> None:
        self.next.feed(data, arrived_s)

    def emit_end(self, how: End) -> None:
        self.next.end(how)

    def hit(self, size: int) -> None:
        """Counts one chunk (or close, of size 0) that this toxic changed."""
        if not self.affected:
            self.affected = True
            self.record.affected += 1
        self.record.hit(size)

    def wake_at(self, when_s: float) -> None:
        """Asks for `on_timer` at a monotonic instant; a stage has one timer, the last spec for."""
        self.cancel_timer()
        if not self._closed:
            self._timer = self.clock.at(when_s, self._timer_fired)

    def cancel_timer(self) -> None:
        """Takes the timer back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The stage is out of use: it may not wake any more."""
        self._closed = True
        self.cancel_timer()

    def _timer_fired(self) -> None:
        self._timer = None
        self.on_timer()
        if self.on_progress is not None:
            self.on_progress()


class HoldingStage(Stage[A]):
    """A stage that keeps chunks in order for a while, and the end behind them."""

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
        """Passes the end on once the queue is empty; call it after taking."""
        if not self.queue and self.ending is not None:
            how, self.ending = self.ending, None
            self.emit_end(how)

    def release(self) -> None:
        self.cancel_timer()
        while self.queue:
            self.emit(*self.take())
        self.end_if_waiting()
