"""Outlier ejection ejects a bad host, for longer each time, and never the last one."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.resilience import Event, FakeClock, OutlierEjection
from tests.chassis.resilience.kit import EDGE, kinds

TWO = ["one:80", "two:80"]


def an_ejection(clock: FakeClock, hosts: list[str] = TWO, **settings: Any) -> OutlierEjection:
    ejection = OutlierEjection(EDGE, clock=clock, **settings)
    assert ejection.available(hosts) == hosts
    return ejection


def call(ejection: OutlierEjection, host: str, ok: bool = True, latency_s: float = 0.1) -> None:
    """One call to `host`, started and ended."""
    ejection.record(host, ejection.admit(host), ok, latency_s)


def bad(ejection: OutlierEjection, host: str, times: int = 5) -> None:
    for _ in range(times):
        call(ejection, host, ok=False)


def good(ejection: OutlierEjection, host: str, times: int = 3) -> None:
    for _ in range(times):
        call(ejection, host)


def overtaken(ejection: OutlierEjection, host: str, by: str) -> None:
    """A call to `host`, and a later copy of it that `by` answers first."""
    era = ejection.admit(host)
    call(ejection, by)
    ejection.overtaken(host, era)


def test_five_bad_calls_in_a_row_eject_and_three_good_trial_calls_readmit(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, listener=events.append)
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO
    bad(ejection, "one:80", 1)
    assert ejection.available(TWO) == ["two:80"]
    clock.tick(29.9)
    assert ejection.available(TWO) == ["two:80"]
    clock.tick(0.1)
    for _ in range(3):
        assert ejection.available(TWO) == TWO
        good(ejection, "one:80", 1)
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO, "its counts are reset"
    reasons = [(event.kind, event.reason) for event in events]
    assert reasons == [
        ("ejection", "consecutive"),
        ("probation", "wait_elapsed"),
        ("readmission", "probes_passed"),
    ]
    assert events[0].host == "one:80"
    assert events[0].wait_s == 30


def test_a_host_that_fails_half_the_time_never_five_in_a_row_is_ejected(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, failing=5, listener=events.append)
    for _ in range(4):
        bad(ejection, "one:80", 1)
        good(ejection, "one:80", 1)
    assert ejection.available(TWO) == TWO
    bad(ejection, "one:80", 1)
    assert ejection.available(TWO) == ["two:80"]
    assert [(e.reason, e.failures) for e in events] == [("failing", 5)]


def test_failures_of_all_hosts_eject_none(clock: FakeClock) -> None:
    ejection = an_ejection(clock, failing=5)
    for _ in range(10):
        for host in TWO:
            bad(ejection, host, 2)
            good(ejection, host, 1)
    assert ejection.available(TWO) == TWO


def test_a_readmission_resets_the_counts_of_the_others(clock: FakeClock) -> None:
    ejection = an_ejection(clock, failing=5)
    bad(ejection, "one:80")
    for _ in range(3):  # the failures continue at the other, which is the last one and stays
        bad(ejection, "two:80", 3)
        good(ejection, "two:80", 1)
    clock.tick(30)
    good(ejection, "one:80")
    bad(ejection, "two:80", 1)
    assert ejection.available(TWO) == TWO


def test_bad_calls_are_forgotten_after_ten_more(clock: FakeClock) -> None:
    ejection = an_ejection(clock, failing=5)
    for _ in range(20):
        bad(ejection, "one:80", 2)
        good(ejection, "one:80", 3)
    assert ejection.available(TWO) == TWO, "4 of any 10"


def test_without_failing_only_calls_in_a_row_count(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    for _ in range(20):
        bad(ejection, "one:80", 4)
        good(ejection, "one:80", 1)
    assert ejection.available(TWO) == TWO


def test_on_probation_a_host_has_one_call_at_a_time(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80")
    clock.tick(30)
    trial = ejection.admit("one:80")
    assert ejection.available(TWO) == ["two:80"]
    ejection.release("one:80", trial)
    assert ejection.available(TWO) == TWO, "a call that does not count makes room for another"


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (lambda e: call(e, "one:80", ok=False), "probe_failed"),
        (lambda e: overtaken(e, "one:80", by="two:80"), "probe_overtaken"),
        (lambda e: call(e, "one:80", latency_s=1.0), "probe_slow"),
    ],
)
def test_one_bad_trial_call_ejects_for_longer(
    clock: FakeClock, events: list[Event], trial: Callable[[OutlierEjection], None], reason: str
) -> None:
    ejection = an_ejection(clock, slow_ratio=3, listener=events.append)
    bad(ejection, "one:80")
    good(ejection, "two:80", 20)
    clock.tick(30)
    trial(ejection)
    assert [(e.reason, e.wait_s) for e in events if e.kind == "ejection"] == [
        ("consecutive", 30),
        (reason, 60),
    ]
    clock.tick(59)
    assert ejection.available(TWO) == ["two:80"]


def test_one_slightly_slow_trial_call_is_outweighed_by_the_others(clock: FakeClock) -> None:
    ejection = an_ejection(clock, slow_ratio=3)
    bad(ejection, "one:80")
    good(ejection, "two:80", 20)
    clock.tick(30)
    for latency_s in (0.5, 0.1, 0.1):
        call(ejection, "one:80", latency_s=latency_s)
    good(ejection, "one:80", 3)
    assert ejection.available(TWO) == TWO


def test_earlier_latencies_of_the_others_do_not_count_after_a_readmission(clock: FakeClock) -> None:
    """Otherwise the readmitted host, with a new average, makes another look slow that is not."""
    ejection = an_ejection(clock, slow_ratio=3, slow_calls_min=5)
    bad(ejection, "one:80")
    for _ in range(20):
        call(ejection, "two:80", latency_s=1.0)
    clock.tick(30)
    for _ in range(8):
        good(ejection, "one:80", 1)
        good(ejection, "two:80", 1)
    assert ejection.available(TWO) == TWO


def test_a_call_started_before_the_ejection_is_no_trial_call(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, listener=events.append)
    late = [ejection.admit("one:80") for _ in range(5)]
    bad(ejection, "one:80")
    clock.tick(30)
    trial = ejection.admit("one:80")
    for era in late:
        ejection.record("one:80", era, False, 31.0)
    assert kinds(events) == ["ejection", "probation"]
    ejection.record("one:80", trial, True, 0.1)
    assert ejection.available(TWO) == TWO


def test_a_host_overtaken_four_times_in_a_row_is_ejected_if_the_other_never_is(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, listener=events.append)
    for _ in range(3):
        overtaken(ejection, "one:80", by="two:80")
    good(ejection, "one:80", 1)
    for _ in range(4):
        assert ejection.available(TWO) == TWO
        overtaken(ejection, "one:80", by="two:80")
    assert ejection.available(TWO) == ["two:80"]
    assert [(e.reason, e.failures) for e in events] == [("overtaken", 4)]


def test_if_all_hosts_are_overtaken_none_is_ejected(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    for _ in range(20):
        overtaken(ejection, "one:80", by="two:80")
        overtaken(ejection, "two:80", by="one:80")
    for _ in range(3):
        overtaken(ejection, "one:80", by="two:80")
    assert ejection.available(TWO) == TWO


def test_one_good_call_resets_the_count(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80", 4)
    good(ejection, "one:80", 1)
    bad(ejection, "one:80", 4)
    assert ejection.available(TWO) == TWO


def test_each_ejection_lasts_longer_up_to_a_limit_and_time_in_use_shortens_it(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, base_s_max=70, listener=events.append)
    for _ in range(4):
        bad(ejection, "one:80")
        clock.tick(70)
        good(ejection, "one:80")
    clock.tick(1000)
    bad(ejection, "one:80")
    waits = [e.wait_s for e in events if e.kind == "ejection"]
    assert waits == [30, 60, 70, 70, 30]


def test_a_slow_host_of_two_is_ejected_and_readmitted(
    clock: FakeClock, events: list[Event]
) -> None:
    ejection = an_ejection(clock, slow_ratio=3, slow_calls_min=20, listener=events.append)
    for _ in range(21):
        call(ejection, "one:80", latency_s=0.5)
        call(ejection, "two:80", latency_s=0.02)
    assert ejection.available(TWO) == ["two:80"]
    assert events[0].reason == "slow"
    clock.tick(30)
    assert ejection.available(TWO) == TWO
    for _ in range(40):
        call(ejection, "one:80", latency_s=0.02)
        call(ejection, "two:80", latency_s=0.02)
    assert ejection.available(TWO) == TWO


def test_a_small_difference_is_not_slow(clock: FakeClock) -> None:
    ejection = an_ejection(clock, slow_ratio=3)
    for _ in range(50):
        call(ejection, "one:80", latency_s=0.004)
        call(ejection, "two:80", latency_s=0.001)
    assert ejection.available(TWO) == TWO


def test_calls_longer_than_slow_s_are_bad(clock: FakeClock) -> None:
    ejection = an_ejection(clock, slow_s=1)
    for _ in range(5):
        call(ejection, "one:80", latency_s=1.5)
    assert ejection.available(TWO) == ["two:80"]


def test_removed_hosts_are_forgotten(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80")
    assert ejection.available(["two:80", "three:80"]) == ["two:80", "three:80"]
    bad(ejection, "one:80")
    assert ejection.available(["one:80", "two:80"]) == ["one:80", "two:80"]


def test_switched_off_it_returns_every_host(clock: FakeClock) -> None:
    ejection = an_ejection(clock)
    bad(ejection, "one:80")
    ejection.enabled = False
    assert ejection.available(TWO) == TWO


@given(
    hosts=st.integers(1, 12),
    share=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    steps=st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from("gbohr"), st.integers(0, 9)), max_size=150
    ),
)
@example(hosts=1, share=1.0, steps=[(0, "b", 0)] * 2)
@example(hosts=3, share=1.0, steps=[(n // 2, "b", 0) for n in range(6)])
@example(hosts=2, share=0.5, steps=[(0, "b", 0)] * 2 + [(0, "h", 9), (0, "h", 9), (0, "h", 9)])
def test_never_more_than_the_share_never_the_last_and_one_trial_call_at_a_time(
    hosts: int, share: float, steps: list[tuple[int, str, int]]
) -> None:
    """g, b: a good, a bad call. o: overtaken. h: started and held. r: a held one succeeds."""
    clock = FakeClock()
    names = [f"host-{number}" for number in range(hosts)]
    ejection = an_ejection(clock, names, consecutive=2, overtaken=2, base_s=5, share_max=share)
    held: list[tuple[str, int]] = []
    for number, what, gap in steps:
        clock.tick(gap / 3)
        inside = ejection.available(names)
        name = inside[number % len(inside)]
        if what == "r":
            if held:
                ejection.record(*held.pop(number % len(held)), True, 0.1)
        else:
            era = ejection.admit(name)
            if what == "h":
                held.append((name, era))
            elif what == "o":
                ejection.overtaken(name, era)
            else:
                ejection.record(name, era, what == "g", 0.1)
        out = [name for name, host in ejection._hosts.items() if host.out]
        trials = [name for name in out if ejection._hosts[name].trial_in_flight]
        assert len(out) < hosts
        assert len(out) <= max(1, int(share * hosts))
        assert not set(trials) & set(ejection.available(names)), "two trial calls at once"


def test_a_wrong_setting_is_named(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="slow_ratio"):
        OutlierEjection(EDGE, slow_ratio=0.5)
    with pytest.raises(ValueError, match="share_max"):
        OutlierEjection(EDGE, share_max=0)
