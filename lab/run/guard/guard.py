"""The guard of a run: when a limit is passed, it stops the method and removes every fault within a second.

It runs in the process of `lab run`, not in the toolkit's. Each watch has a thread, so that none waits for another
one or for the sequence. If this process dies too, each fault ends at its TTL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.chaos.faults.clear_all import Cleared
from lab.run.guard.limits import Watch

LOOK_INTERVAL_S = 0.05
AGAIN_S = 0.5


@dataclass(frozen=True)
class Violation:
    """Which limit was passed, how and when; `faults_off_s`: when all faults were off (epoch s)."""

    name: str
    reason: str
    violated_s: float
    faults_off_s: float | None = None
    problems: list[str] = field(default_factory=list)


class Guard:
    """`stop_method` must return at once; `clear_all` removes every fault."""

    def __init__(
        self,
        watches: Sequence[tuple[str, Watch]],
        stop_method: Callable[[], None],
        clear_all: Callable[[], Cleared],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.violation: Violation | None = None
        self._stop_method, self._clear_all, self._clock = stop_method, clear_all, clock
        self._stop = threading.Event()
        self._acting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._watch, args=each, name=f"guard {each[0]}", daemon=True)
            for each in watches
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops watching; a reaction to a violation that has started is completed."""
        self._stop.set()
        for thread in self._threads:
            # a probe may still wait for its answer; the thread is a daemon
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
            violated_s = self._clock()
            self._stop_method()
            done = self._clear_all()
            self.violation = Violation(name, reason, violated_s, self._clock(), done.problems)
        # an action that was still running may arm one more fault
        while not self._stop.wait(AGAIN_S):
            self._clear_all()
