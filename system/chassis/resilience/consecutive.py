"""Consecutive-failure breaker: opens after several failures in a row, whatever the failure rate."""

from __future__ import annotations

from typing import ClassVar

from .breaker import HALF_OPEN, OPEN, Breaker
from .checks import at_least
from .clock import SYSTEM_CLOCK, Clock
from .events import Listener
from .window import FAILED, RunWindow, Window


class ConsecutiveBreaker(Breaker):
    """Opens after `run_length` failures in a row. One success resets the count.

    Half-open, the first failed trial call opens it again; it closes after all have succeeded. The rest
    is as in Breaker: the wait while open, events, states set by an operator.
    With an error share e it opens after (e^-k - 1)/(1 - e) calls on average, k = run_length. With the
    default of one trial call it behaves like the textbook breaker.
    """

    kind: ClassVar[str] = "consecutive"

    def __init__(
        self,
        edge: str,
        *,
        run_length: int = 5,
        wait_open_s: float = 60.0,
        permitted_half_open: int = 1,
        half_open_s_max: float | None = None,
        ignored: tuple[type[Exception], ...] = (),
        recorded: tuple[type[Exception], ...] = (Exception,),
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        self.run_length = at_least("run_length", run_length, 1)
        super().__init__(
            edge,
            window_size=run_length,
            minimum_calls=run_length,
            failure_rate_threshold=1.0,
            wait_open_s=wait_open_s,
            permitted_half_open=permitted_half_open,
            half_open_s_max=half_open_s_max,
            ignored=ignored,
            recorded=recorded,
            clock=clock,
            listener=listener,
        )
        # k failures in a row are k of k failed: only the window differs. Slow calls never open it.
        self.slow_call_duration_s = float("inf")

    def record(self, era: int, duration_s: float, *, failed: bool = False) -> None:
        """As in Breaker. A failed trial call opens the breaker at once: trial calls have no rate."""
        if not failed or self._state is not HALF_OPEN or era != self._era:
            super().record(era, duration_s, failed=failed)
            return
        now = self.clock.monotonic()
        self._counts.record(FAILED, now)
        self._emit(now, "evaluation", self._counts)
        self._enter(OPEN, "failure_rate", now)

    def _fresh_window(self) -> Window:
        return RunWindow()
