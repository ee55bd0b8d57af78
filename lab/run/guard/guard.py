"""The guard of a run: when a limit is passed, the method is called off and every fault is off within a second.

It lives in the run's own process, not in the toolkit's, each of its watches in a thread of its own, so that none
waits for another or for the story. Should this process die too, the faults' own TTL ends them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from lab.chaos.faults.clear_all import Disarmed
from lab.run.guard.limits import Watch

LOOK_INTERVAL_S = 0.05
AGAIN_S = 0.5


@dataclass(frozen=True)
class Violation:
    """Which limit was passed, how and when; `faults_off_s` when everything was off (epoch s)."""

    name: str
    reason: str
    violated_s: float
    faults_off_s: float | None = None
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Guard:
    """`call_off` tells the method to end, at once; `disarm` takes every fault off."""

    def __init__(
        self,
        watches: Sequence[tuple[str, Watch]],
        call_off: Callable[[], None],
        disarm: Callable[[], Disarmed],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.violation: Violation | None = None
        self._call_off, self._disarm, self._clock = call_off, disarm, clock
        self._stop = threading.Event()
        self._acting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._watch, args=each, name=f"guard {each[0]}", daemon=True)
            for each in watches
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more looking; what is being done is done to its end."""
        self._stop.set()
        for thread in self._threads:
            # a probe may wait for its answer: it is a daemon and nobody waits for it
            thread.join(timeout=1.0)
        with self._acting:
            return

    def _watch(self, name: str, watch: Watch) -> None:
        while not self._stop.is_set() and self.violation is None:
            if reason := watch.look(self._clock()):
                self._act(name, reason)
            self._stop.wait(LOOK_INTERVAL_S)

    def _act(self, name: str, reason: str) -> None:
        with self._acting:
            if self.violation is not None or self._stop.is_set():
                return
            violation = Violation(name, reason, self._clock())
            self._call_off()
            done = self._disarm()
            self.violation = Violation(
                name, reason, violation.violated_s, self._clock(), done.problems
            )
        while not self._stop.wait(AGAIN_S):  # an action that was under way may have armed one more
            self._disarm()
