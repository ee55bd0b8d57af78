"""The pace of resuming: as many sagas at a time as the machine and the services allow, new orders first."""

from chassis.clock import Clock
from chassis.resilience.limits import Gradient2

RUNNING_MAX = 16
WINDOW_S = 0.05
WINDOW_STEPS = 4
# Under a constant load of new orders one saga is resumed in this time, so that every saga ends.
ONE_PERIOD_S = 5.0
RUNNING_NEAR_DEADLINE = 6


class Pace:
    """Bounds the sagas that one instance runs at a time when it resumes others. New orders are always run.

    The bound follows the steps of all sagas. While they take about as long as usual, it grows within a second from
    1 to RUNNING_MAX; the rate of resuming then is that of the services. It shrinks when steps take longer than
    1.5 times the usual, because the CPU or a service is at its limit, and when they fail.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # queue: at the bound of 4, steps may take twice as long as usual (4 = 4 * 1.5 / 2 + 1)
        self._bound = Gradient2(initial=2, least=1, most=RUNNING_MAX, queue=1, smoothing=0.5)
        self._one_at = 0.0
        self.failing = False  # the last step that counted failed
        self._peak = 0
        self._start_window(0)

    def free(self, running: int, *, near_deadline: bool = False) -> int:
        """How many sagas may be resumed now, beside those that run."""
        bound = max(int(self._bound.limit), RUNNING_NEAR_DEADLINE if near_deadline else 0)
        now = self._clock.monotonic()
        free = max(bound - running, int(now >= self._one_at))
        if free > 0:
            self._one_at = now + ONE_PERIOD_S
        return free

    def sample(self, step_s: float, running: int, *, failed: bool) -> None:
        """A step ended. The mean of a window counts; a failure ends the window, and its time counts not."""
        self._peak = max(self._peak, running)
        if not failed:
            self._steps += 1
            self._sum_s += step_s
            if self._steps < WINDOW_STEPS or self._clock.monotonic() < self._until:
                return
        self.failing = failed
        self._bound.update(self._sum_s / max(1, self._steps), self._peak, failed)
        self._start_window(running)

    def _start_window(self, running: int) -> None:
        self._until = self._clock.monotonic() + WINDOW_S
        self._steps, self._sum_s = 0, 0.0
        self._peak = running
