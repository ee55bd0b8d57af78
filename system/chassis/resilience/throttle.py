"""Adaptive throttling: a client drops calls itself when its backend accepts too few of them."""

from __future__ import annotations

import math
import random
from collections import deque
from typing import ClassVar, NoReturn

from .checks import positive
from .clock import SYSTEM_CLOCK, Clock
from .errors import DeadlineExceededError, RejectedError, ThrottledError
from .events import Listener
from .policy import Attempt, Call, Switchable, T


class AdaptiveThrottle(Switchable):
    """Drops a call with probability max(0, (requests - k accepts)/(requests + 1)).

    Site Reliability Engineering (2016), chapter 21. `requests` is the number of calls in the last
    `window_s` seconds, including dropped ones. `accepts` is the number that the backend accepted: the
    call returned, or failed with an error outside `refused`. With a capacity c below the offered rate
    it sends k c. Rejections by inner policies are not counted. Raises ThrottledError.
    """

    kind: ClassVar[str] = "throttle"

    def __init__(
        self,
        edge: str,
        *,
        k: float = 2.0,
        window_s: float = 120.0,
        refused: tuple[type[Exception], ...] = (Exception,),
        rng: random.Random | None = None,
        clock: Clock = SYSTEM_CLOCK,
        listener: Listener | None = None,
    ) -> None:
        if not 1 <= k < math.inf:
            raise ValueError(f"k must be >= 1, got {k!r}")
        self.edge = edge
        self.k = k
        self.window_s = positive("window_s", window_s)
        self.refused = refused
        self.rng = rng or random.Random()
        self.clock = clock
        self.listener = listener
        self.requests = 0
        self.accepts = 0
        self.dropped = 0
        self._buckets: deque[list[int]] = deque()  # [index, requests, accepts], 20 per window
        self._bucket_s = window_s / 20

    @property
    def drop_probability(self) -> float:
        """The probability of dropping the next call, in [0, 1)."""
        return max(0.0, (self.requests - self.k * self.accepts) / (self.requests + 1))

    async def run(self, attempt: Attempt[T], call: Call) -> T:
        bucket = self._bucket()
        probability = self.drop_probability
        self.requests += 1
        bucket[1] += 1
        if probability > 0 and self.rng.random() < probability:
            self._drop()
        try:
            answer = await attempt(call)
        except Exception as error:
            unstarted = isinstance(error, DeadlineExceededError) and error.definite
            if unstarted or isinstance(error, RejectedError):
                self._forget(bucket)
            elif not isinstance(error, self.refused):
                self._accept()
            raise
        except BaseException:
            self._forget(bucket)
            raise
        self._accept()
        return answer

    def _accept(self) -> None:
        self._bucket()[2] += 1
        self.accepts += 1

    def _forget(self, bucket: list[int]) -> None:
        """Remove a request from the count, unless its bucket has left the window."""
        if self._buckets and bucket[0] >= self._buckets[0][0]:
            bucket[1] -= 1
            self.requests -= 1

    def _bucket(self) -> list[int]:
        index = int(self.clock.monotonic() / self._bucket_s)
        buckets = self._buckets
        if not buckets or buckets[-1][0] != index:
            while buckets and buckets[0][0] <= index - 20:
                _, requests, accepts = buckets.popleft()
                self.requests -= requests
                self.accepts -= accepts
            buckets.append([index, 0, 0])
        return buckets[-1]

    def _drop(self) -> NoReturn:
        self.dropped += 1
        n, failures = self.requests, max(0, self.requests - self.accepts)
        self._report(self.edge, "rejection", reason="throttled", n=n, failures=failures)
        raise ThrottledError(f"{self.edge}: backend accepts too few calls", reason="throttled")

    def _live(self) -> dict[str, object]:
        self._bucket()
        return {
            "edge": self.edge,
            "requests": self.requests,
            "accepts": self.accepts,
            "drop_probability": round(self.drop_probability, 4),
            "dropped": self.dropped,
        }
