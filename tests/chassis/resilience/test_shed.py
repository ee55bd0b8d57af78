"""Load shedding rejects the least important class first and the most important last."""

import pytest

from chassis.resilience import Event, FakeClock, LoadShedder, ShedError
from tests.chassis.resilience.kit import a_call, ok

BROWSE, ACCOUNT, PAYMENT = 0, 1, 2


def admitted(shedder: LoadShedder, priority: int) -> bool:
    try:
        shedder.admit(priority)
    except ShedError:
        return False
    return True


def test_each_class_fills_only_its_share(clock: FakeClock, events: list[Event]) -> None:
    shedder = LoadShedder("gateway", 10, clock=clock, listener=events.append)
    assert [admitted(shedder, BROWSE) for _ in range(7)] == [True] * 6 + [False]
    assert [admitted(shedder, ACCOUNT) for _ in range(3)] == [True] * 2 + [False]
    assert [admitted(shedder, PAYMENT) for _ in range(3)] == [True] * 2 + [False]
    assert [(e.kind, e.reason, e.priority) for e in events] == [
        ("shed", "in_flight", p) for p in (BROWSE, ACCOUNT, PAYMENT)
    ]
    for _ in range(10):
        shedder.release()
    assert admitted(shedder, BROWSE)


def test_a_standing_queue_sheds_class_after_class_but_never_the_last(clock: FakeClock) -> None:
    shedder = LoadShedder("gateway", 100, clock=clock)
    for expected in (1, 2, 2):
        for _ in range(5):
            shedder.observe_queue(0.2)
        clock.tick(0.1)
        shedder.observe_queue(0.2)
        assert shedder.level == expected
    assert not admitted(shedder, ACCOUNT)
    assert admitted(shedder, PAYMENT)


def test_one_short_wait_in_an_interval_means_no_standing_queue(clock: FakeClock) -> None:
    shedder = LoadShedder("gateway", 100, clock=clock)
    for _ in range(20):
        shedder.observe_queue(0.5)
        shedder.observe_queue(0.01)
        clock.tick(0.1)
    assert shedder.level == 0


def test_all_classes_are_admitted_after_intervals_without_reports(clock: FakeClock) -> None:
    shedder = LoadShedder("gateway", 100, clock=clock)
    for _ in range(3):
        shedder.observe_queue(0.2)
        clock.tick(0.1)
    assert not admitted(shedder, BROWSE)
    clock.tick(1)
    assert admitted(shedder, BROWSE)


def test_as_a_policy_it_reads_the_calls_priority(clock: FakeClock) -> None:
    shedder = LoadShedder("gateway", 1, shares=(0.5, 1.0), clock=clock)

    async def main() -> None:
        for priority in (0, 1, 9, -1):
            assert await shedder.run(ok, a_call(priority=priority)) == "ok"
        shedder.admit(5)
        with pytest.raises(ShedError) as caught:
            await shedder.run(ok, a_call(priority=9))
        assert caught.value.retry_after_s == 1.0
        assert caught.value.definite

    clock.run(main())


@pytest.mark.parametrize("shares", [(0.5,), (1.0, 0.5), (), (0.5, 2.0)])
def test_shares_must_rise_to_one(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares"):
        LoadShedder("gateway", shares=shares)
