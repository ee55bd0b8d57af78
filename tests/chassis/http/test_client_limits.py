"""One token bucket per client: rate, burst, waiting time and memory."""

import pytest

from chassis.clock import SystemClock
from chassis.http.client_limits import ClientLimits, TooManyRequestsError


class FakeClock(SystemClock):
    at_s = 1000.0

    def monotonic(self) -> float:
        return self.at_s


def taken(limits: ClientLimits, client: str, tries: int) -> int:
    """How many of `tries` requests at once get through."""
    count = 0
    for _ in range(tries):
        try:
            limits.take(client)
        except TooManyRequestsError:
            continue
        count += 1
    return count


def test_a_client_may_burst_and_is_then_held_to_its_rate() -> None:
    clock = FakeClock()
    limits = ClientLimits(rate_per_s=10, burst=5, clock=clock)
    assert taken(limits, "ann", 20) == 5
    clock.at_s += 0.3
    assert taken(limits, "ann", 20) == 3
    clock.at_s += 60
    assert taken(limits, "ann", 20) == 5, "an idle client saves no more than one burst"


def test_each_client_has_its_own_bucket() -> None:
    limits = ClientLimits(rate_per_s=1, burst=2, clock=FakeClock())
    assert taken(limits, "ann", 5) == 2
    assert taken(limits, "bob", 5) == 2


def test_a_refused_client_is_admitted_after_retry_after() -> None:
    clock = FakeClock()
    limits = ClientLimits(rate_per_s=0.5, burst=1, clock=clock)
    limits.take("ann")
    with pytest.raises(TooManyRequestsError) as refused:
        limits.take("ann")
    assert refused.value.retry_after_s == pytest.approx(2.0)
    clock.at_s += refused.value.retry_after_s
    limits.take("ann")


def test_a_refused_request_takes_no_token() -> None:
    clock = FakeClock()
    limits = ClientLimits(rate_per_s=1, burst=1, clock=clock)
    limits.take("ann")
    assert taken(limits, "ann", 1000) == 0
    clock.at_s += 1
    limits.take("ann")


def test_memory_is_bounded_and_keeps_the_latest_clients() -> None:
    limits = ClientLimits(rate_per_s=1, burst=1, clock=FakeClock(), clients_max=100)
    limits.take("ann")
    for n in range(10_000):
        limits.take(f"client {n}")
    assert len(limits) == 100
    assert taken(limits, "client 9999", 1) == 0
    assert taken(limits, "ann", 1) == 1, "a dropped client starts again with a full bucket"


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_limits_that_admit_no_request_are_rejected(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        ClientLimits(rate, burst, FakeClock())
