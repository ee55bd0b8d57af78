"""Circuit breaker: stops calls to a failing or slow dependency, and closes again after trial calls."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from .checks import at_least, positive, share
from .clock import SYSTEM_CLOCK, Clock
from .errors import BreakerOpenError, DeadlineExceededError, OverloadedError, RejectedError
from .events import Event, Kind, Listener, emit
from .policy import Attempt, Call, Switchable, T
from .window import FAILED, SLOW, CountWindow, TimeWindow, Window


class State(StrEnum):
    """closed, open and half_open follow the dependency. An operator sets the others."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"  # rejects all calls
    DISABLED = "disabled"  # admits all calls, counts none
    METRICS_ONLY = "metrics_only"  # admits and counts all calls, never opens


CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
DISABLED, METRICS_ONLY = State.DISABLED, State.METRICS_ONLY


class Breaker(Switchable):
    """A breaker with resilience4j's semantics.

    closed -> open       when the window holds at least `minimum_calls` (at most its size) and
                         failures/n >= failure_rate_threshold or slow/n >= slow_call_rate_threshold
    open -> half_open    at the first call after `wait_open_s`
    half_open            admits `permitted_half_open` trial calls in total; after min(minimum_calls,
                         permitted_half_open) of them have returned, the same rule closes or opens

    A call longer than `slow_call_duration_s` is slow, whether it failed or not. A rejection by an
    inner policy, a refusal of an overloaded callee, work that never started, errors in `ignored` and
    cancelled calls are not counted and free their permit. An error not in `recorded` counts as a
    success. Unlike in resilience4j, an outcome counts only in the state that admitted its call. With
    `half_open_s_max`, a half-open breaker whose trial calls do not return opens again after that time.

    window_size is a number of calls (COUNT_BASED) or seconds (TIME_BASED). Rates are in (0, 1].
    Not thread-safe: a breaker belongs to one event loop. Raises BreakerOpenError, with
    `retry_after_s` while open.
    """

    kind: ClassVar[str] = "breaker"

    def __init__(  # noqa: PLR0913 - the settings of the policy, by name
        self,
        edge: str,
        *,
        window: Literal["COUNT_BASED", "TIME_BASED"] = "COUNT_BASED",
        window_size: int = 100,
        failure_rate_threshold: float = 0.5,
        slow_call_rate_threshold: float = 1.0,
        slow_call_duration_s: float = 60.0,
        minimum_calls: int = 100,
        wait_open_s: float = 60.0,
        permitted_half_open: int = 10,
        half_open_s_max: float | None = None,
        ignored: tuple[type[Exception], ...] = (),
        recorded: tuple[type[Exception], ...] = (Exception,),
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        if window not in ("COUNT_BASED", "TIME_BASED"):
            raise ValueError(f"window must be COUNT_BASED or TIME_BASED, got {window!r}")
        self.edge = edge
        self.window = window
        self.window_size = at_least("window_size", window_size, 1)
        self.failure_rate_threshold = share("failure_rate_threshold", failure_rate_threshold)
        self.slow_call_rate_threshold = share("slow_call_rate_threshold", slow_call_rate_threshold)
        self.slow_call_duration_s = positive("slow_call_duration_s", slow_call_duration_s)
        self.minimum_calls = at_least("minimum_calls", minimum_calls, 1)
        self.wait_open_s = positive("wait_open_s", wait_open_s)
        self.permitted_half_open = at_least("permitted_half_open", permitted_half_open, 1)
        if half_open_s_max is not None:
            positive("half_open_s_max", half_open_s_max)
        self.half_open_s_max = half_open_s_max
        self.ignored: tuple[type[Exception], ...] = (RejectedError, OverloadedError, *ignored)
        self.recorded = recorded
        self.clock = clock
        self.listener = listener
        self.rejected = 0
        self._state = CLOSED
        self._era = 0  # increases at each transition: an outcome counts only in the era of its call
        self._since = clock.monotonic()
        self._trials = 0
        self._counts = self._fresh_window()
        self._needed = self._minimum_closed()

    @property
    def state(self) -> State:
        """The current state. It stays open until the first call after `wait_open_s`."""
        return self._state

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        era = self._era if self._state is CLOSED else self.acquire()
        started = self.clock.monotonic()
        try:
            answer = await attempt(call)
        except Exception as error:
            self._record_error(era, started, error)
            raise
        except BaseException:
            self.release(era)
            raise
        self.record(era, self.clock.monotonic() - started)
        return answer

    def acquire(self) -> int:
        """Admit a call. Returns its era, to be passed to `record` or `release` exactly once.

        Raises BreakerOpenError.
        """
        state = self._state
        if state is CLOSED or state is DISABLED or state is METRICS_ONLY:
            return self._era
        now = self.clock.monotonic()
        if state is OPEN and now - self._since >= self.wait_open_s:
            self._enter(HALF_OPEN, "wait_elapsed", now)
        elif state is HALF_OPEN and self._trials_overdue(now):
            self._enter(OPEN, "probes_overdue", now)
        if self._state is HALF_OPEN and self._trials < self.permitted_half_open:
            self._trials += 1
            return self._era
        self.rejected += 1
        wait_s = max(0.0, self._since + self.wait_open_s - now) if self._state is OPEN else None
        reason = self._state.value
        self._emit(now, "rejection", self._counts, reason=reason, wait_s=wait_s or 0.0)
        raise BreakerOpenError(
            f"{self.edge}: breaker is {self._state}", reason=self._state.value, retry_after_s=wait_s
        )

    def record(self, era: int, duration_s: float, *, failed: bool = False) -> None:
        """Count the outcome of a call admitted in `era` that took `duration_s` seconds."""
        if era != self._era or self._state is DISABLED:
            return
        outcome = FAILED if failed else 0
        if duration_s > self.slow_call_duration_s:
            outcome += SLOW
        now = self.clock.monotonic()
        counts = self._counts
        counts.record(outcome, now)
        if self.listener is not None:
            self._emit(now, "evaluation", counts)
        n = counts.n
        if n < self._needed or self._state is METRICS_ONLY:
            return
        # The quotient equals a threshold written as the same fraction: both are rounded alike.
        if counts.failures and counts.failures / n >= self.failure_rate_threshold:
            self._enter(OPEN, "failure_rate", now)
        elif counts.slow and counts.slow / n >= self.slow_call_rate_threshold:
            self._enter(OPEN, "slow_call_rate", now)
        elif self._state is HALF_OPEN:
            self._enter(CLOSED, "probes_passed", now)

    def release(self, era: int) -> None:
        """Free the permit of a call that is not counted."""
        if era == self._era and self._state is HALF_OPEN:
            self._trials -= 1

    def force_open(self) -> None:
        """Reject every call until `reset`."""
        self._enter(State.FORCED_OPEN, "operator", self.clock.monotonic())

    def disable(self) -> None:
        """Admit every call and count nothing until `reset`."""
        self._enter(DISABLED, "operator", self.clock.monotonic())

    def observe(self) -> None:
        """Admit and count every call, but never open, until `reset` (metrics only)."""
        self._enter(METRICS_ONLY, "operator", self.clock.monotonic())

    def reset(self) -> None:
        """Close, with an empty window."""
        self._enter(CLOSED, "operator", self.clock.monotonic())

    def _record_error(self, era: int, started: float, error: Exception) -> None:
        unstarted = isinstance(error, DeadlineExceededError) and error.definite
        if unstarted or isinstance(error, self.ignored):
            self.release(era)
        else:
            failed = isinstance(error, self.recorded)
            self.record(era, self.clock.monotonic() - started, failed=failed)

    def _trials_overdue(self, now: float) -> bool:
        return self.half_open_s_max is not None and now - self._since >= self.half_open_s_max

    def _enter(self, state: State, reason: str, now: float) -> None:
        previous = self._state
        counts = self._counts
        self._state = state
        self._era += 1
        self._since = now
        self._trials = 0
        if state is HALF_OPEN:
            self._counts = CountWindow(self.permitted_half_open)
            self._needed = min(self.minimum_calls, self.permitted_half_open)
        elif state is CLOSED or state is METRICS_ONLY:
            self._counts = self._fresh_window()
            self._needed = self._minimum_closed()
        self._emit(now, "transition", counts, previous=previous.value, reason=reason)

    def _fresh_window(self) -> Window:
        if self.window == "TIME_BASED":
            return TimeWindow(self.window_size)
        return CountWindow(self.window_size)

    def _minimum_closed(self) -> int:
        if self.window == "TIME_BASED":
            return self.minimum_calls
        return min(self.minimum_calls, self.window_size)

    def _emit(
        self,
        now: float,
        kind: Kind,
        counts: Window,
        *,
        previous: str = "",
        reason: str = "",
        wait_s: float = 0.0,
    ) -> None:
        # not `_report`: each call of a breaker with a listener runs this
        if self.listener is None:
            return
        event = Event(
            now, self.edge, self.kind, kind, self._state.value, previous, reason,
            counts.n, counts.failures, counts.slow, wait_s=wait_s,
        )  # fmt: skip
        emit(self.listener, event)

    def _live(self) -> dict[str, object]:
        if isinstance(self._counts, TimeWindow):
            self._counts.expire(self.clock.monotonic())
        return {
            "edge": self.edge,
            "state": self._state.value,
            "for_s": round(self.clock.monotonic() - self._since, 3),
            "n": self._counts.n,
            "failures": self._counts.failures,
            "slow": self._counts.slow,
            "rejected": self.rejected,
            "settings": {
                "window": self.window,
                "window_size": self.window_size,
                "minimum_calls": self.minimum_calls,
                "failure_rate_threshold": self.failure_rate_threshold,
                "slow_call_rate_threshold": self.slow_call_rate_threshold,
                "slow_call_duration_s": self.slow_call_duration_s,
                "wait_open_s": self.wait_open_s,
                "permitted_half_open": self.permitted_half_open,
            },
        }
