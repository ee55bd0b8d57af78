"""Consecutive-failure breaker: trips on a run of failures, whatever the rate around it."""

from __future__ import annotations

from typing import ClassVar

from .breaker import Breaker
from .checks import at_least
from .clock import SYSTEM_CLOCK, Clock
from .events import Listener
from .window import RunWindow, Window


class ConsecutiveBreaker(Breaker):
    """Opens after `run_length` failures in a row; one good call starts the count again.

    Everything else is Breaker's: wait in open, probes, events, orders of the operator. With an
    error share e it trips after (e^-k - 1)/(1 - e) calls on average, k = run_length. With the
    default single probe it behaves like the classic textbook breaker.
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
        # A run of k is k of k failed; only the window differs. Slowness never trips it.
        self.slow_call_duration_s = float("inf")

    def _fresh_window(self) -> Window:
        return RunWindow()
