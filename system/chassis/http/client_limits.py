"""One token bucket per client, in bounded memory."""

from collections import OrderedDict

from chassis.http.problems import ProblemError
from chassis.resilience.clock import Clock

CLIENTS_MAX = 10_000


class TooManyRequestsError(ProblemError):
    """The client sends more requests than its limit allows."""

    status = 429

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many requests; wait as long as Retry-After says, then send fewer")
        self.retry_after_s = retry_after_s


class ClientLimits:
    """At most `burst` + `rate_per_s` x t requests of one client in any t seconds.

    A bucket is one number (GCRA, ITU-T I.371): when it is full again. At most `clients_max` buckets
    are kept: the client that was idle for longest is dropped, and starts again with a full bucket.
    """

    def __init__(
        self, rate_per_s: float, burst: float, clock: Clock, clients_max: int = CLIENTS_MAX
    ) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError(
                f"expected a rate above 0 and a burst of at least 1, got {rate_per_s}, {burst}"
            )
        self._cost_s = 1 / rate_per_s
        self._depth_s = burst / rate_per_s
        self._clock = clock
        self._clients_max = clients_max
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def check(self, client: str) -> float:
        """When the bucket of `client` is full again after one more token. Raises TooManyRequestsError."""
        now = self._clock.monotonic()
        full_at = max(self._full_at.get(client, now), now) + self._cost_s
        over_s = full_at - now - self._depth_s
        if over_s > 1e-9:
            raise TooManyRequestsError(retry_after_s=over_s)
        return full_at

    def take(self, client: str) -> None:
        """Take one token of `client`'s bucket. Raises TooManyRequestsError with the seconds to wait."""
        self._full_at[client] = self.check(client)
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._clients_max:
            self._full_at.popitem(last=False)
