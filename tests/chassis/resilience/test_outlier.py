"""Outlier ejection takes out one bad host, for longer each time, and never the last one."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.resilience import Event, FakeClock, OutlierEjection
from tests.chassis.resilience.kit import EDGE, kinds

TWO = ["one:80", "two:80"]


def an_ejection(clock: FakeClock, hosts: list[str] = TWO, **knobs: Any) -> OutlierEjection:
    ejection = OutlierEjection(EDGE, clock=clock, **knobs)
    assert ejection.available(hosts) == hosts
    return ejection


def bad(ejection: OutlierEjection, host: str, times: int = 5) -> None:
    for _ in range(times):
        ejection.record(host, False, 0.1)


def test_five_bad_calls_in_a_row_eject_and_time_readmits(
    clock: FakeClock, heard: list[Event]
) -> None:
    ejection = an_ejection(clock, listener=heard.append)
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO
    bad(ejection, "one:80", 1)
    assert ejection.available(TWO) == ["two:80"]
    clock.tick(29.9)
    assert ejection.available(TWO) == ["two:80"]
    clock.tick(0.1)
    assert ejection.available(TWO) == TWO
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO, "it starts afresh"
    assert kinds(heard) == ["ejection", "readmission"]
    assert heard[0].host == "one:80"
    assert heard[0].wait_s == 30


def test_one_good_call_starts_the_count_again(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80", 4)
    ejection.record("one:80", True, 0.1)
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO


def test_each_ejection_lasts_longer_up_to_a_limit_and_good_times_are_remembered(
    clock: FakeClock, heard: list[Event]
) -> None:
    ejection = an_ejection(clock, base_s_max=70, listener=heard.append)
    for _ in range(4):
        bad(ejection, "one:80")
        clock.tick(70)
        ejection.available(TWO)
    clock.tick(1000)
    bad(ejection, "one:80")
    waits = [e.wait_s for e in heard if e.kind == "ejection"]
    assert waits == [30, 60, 70, 70, 30]


def test_a_slow_host_of_two_is_ejected_and_readmitted(clock: FakeClock, heard: list[Event]) -> None:
    ejection = an_ejection(clock, slow_ratio=3, slow_calls_min=20, listener=heard.append)
    for _ in range(21):
        ejection.record("one:80", True, 0.5)
        ejection.record("two:80", True, 0.02)
    assert ejection.available(TWO) == ["two:80"]
    assert heard[0].reason == "slow"
    clock.tick(30)
    assert ejection.available(TWO) == TWO
    for _ in range(40):
        ejection.record("one:80", True, 0.02)
        ejection.record("two:80", True, 0.02)
    assert ejection.available(TWO) == TWO


def test_a_small_difference_is_not_slow(clock: FakeClock) -> None:
    ejection = an_ejection(clock, slow_ratio=3)
    for _ in range(50):
        ejection.record("one:80", True, 0.004)
        ejection.record("two:80", True, 0.001)
    assert ejection.available(TWO) == TWO


def test_calls_longer_than_slow_s_are_bad(clock: FakeClock) -> None:
    ejection = an_ejection(clock, slow_s=1)
    for _ in range(5):
        ejection.record("one:80", True, 1.5)
    assert ejection.available(TWO) == ["two:80"]


def test_hosts_that_left_are_forgotten(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80")
    assert ejection.available(["two:80", "three:80"]) == ["two:80", "three:80"]
    ejection.record("one:80", False, 0.1)
    assert ejection.available(["one:80", "two:80"]) == ["one:80", "two:80"]


def test_switched_off_it_offers_every_host(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80")
    ejection.enabled = False
    assert ejection.available(TWO) == TWO


@given(
    hosts=st.integers(1, 12),
    share=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    steps=st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.integers(0, 9)), max_size=150),
)
@example(hosts=1, share=1.0, steps=[(0, False, 0)] * 2)
@example(hosts=3, share=1.0, steps=[(n // 2, False, 0) for n in range(6)])
def test_never_more_than_the_share_and_never_the_last(
    hosts: int, share: float, steps: list[tuple[int, bool, int]]
) -> None:
    clock = FakeClock()
    names = [f"host-{number}" for number in range(hosts)]
    ejection = an_ejection(clock, names, consecutive=2, base_s=5, share_max=share)
    for number, ok, gap in steps:
        clock.tick(gap / 3)
        ejection.record(names[number % hosts], ok, 0.1)
        inside = ejection.available(names)
        out = [h for h in ejection._hosts.values() if h.ejected_until is not None]
        assert len(out) < hosts
        assert len(inside) == hosts - len(out)
        assert hosts - len(inside) <= max(1, int(share * hosts))


def test_a_wrong_knob_fails_by_name(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="slow_ratio"):
        OutlierEjection(EDGE, slow_ratio=0.5)
    with pytest.raises(ValueError, match="share_max"):
        OutlierEjection(EDGE, share_max=0)
