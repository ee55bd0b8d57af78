"""Faults at the broker: produced events against consumed events, and the broker's own counts."""

import itertools
from collections.abc import Callable

import nats as nats_py
import pytest

from tests.chassis.subject import Subject
from tests.fixtures.servers import run_apart
from tests.fixtures.waiting import wait_until

_numbers = itertools.count(1, 100)  # each test has its own hundred
SETTLED_S = 8.0


@pytest.fixture
def first(subject: Subject) -> int:
    """The first of this test's own numbers, once no event is left."""
    number = next(_numbers)
    subject.ask("POST", f"/events/{number + 99}")
    wait_until(lambda: number + 99 in handled(subject), "the pipe to be empty", 15)
    return number


def handled(subject: Subject) -> list[int]:
    return list(subject.ask("GET", "/handled").body)


def mine(subject: Subject, first: int) -> list[int]:
    return [n for n in handled(subject) if first <= n < first + 99]


def happen(subject: Subject, *numbers: int) -> None:
    for number in numbers:
        assert subject.ask("POST", f"/events/{number}").status == 200


def settle(subject: Subject, first: int, n: int = 98) -> None:
    """Sends a last event and waits for it: events that are not handled by then are lost."""
    happen(subject, first + n)
    wait_until(lambda: first + n in handled(subject), "the marker", SETTLED_S)


@pytest.fixture
def stored(nats: str) -> Callable[[str], int]:
    """The number of messages in a stream."""

    def count(stream: str) -> int:
        async def count() -> int:
            client = await nats_py.connect(nats)
            try:
                return int((await client.jetstream().stream_info(stream)).state.messages)
            finally:
                await client.close()

        return run_apart(count())

    return count


def test_a_dropped_event_is_published_for_the_outbox_and_unknown_to_the_broker(
    subject: Subject, first: int, stored: Callable[[str], int]
) -> None:
    before = stored("EVENTS")
    fault = subject.add("drop", point="publish", scope={"first_n": 1})
    happen(subject, first)
    wait_until(lambda: subject.fault(fault["fault_id"])["hits"] == 1, "a hit")
    settle(subject, first)
    assert mine(subject, first) == [first + 98]
    assert stored("EVENTS") == before + 1
    wait_until(lambda: subject.metric("outbox_pending") == 0, "the outbox to be empty")


def test_a_duplicate_is_stored_twice_and_has_one_effect(
    subject: Subject, first: int, stored: Callable[[str], int]
) -> None:
    before = stored("EVENTS")
    subject.add("duplicate", scope={"first_n": 1})
    happen(subject, first)
    settle(subject, first)
    assert stored("EVENTS") == before + 3
    assert mine(subject, first) == [first, first + 98]


def test_a_lost_publish_acknowledgement_still_leads_to_one_event(
    subject: Subject, first: int, stored: Callable[[str], int]
) -> None:
    before = stored("EVENTS")
    fault = subject.add("lost_ack", point="publish", scope={"first_n": 1})
    happen(subject, first)
    settle(subject, first)
    assert subject.fault(fault["fault_id"])["evidence"]["seen"] >= 2  # it was published again
    assert stored("EVENTS") == before + 2
    assert mine(subject, first) == [first, first + 98]


def test_a_broker_that_is_down_keeps_events_in_the_outbox(subject: Subject, first: int) -> None:
    fault = subject.add("down", point="publish")
    happen(subject, first)
    wait_until(lambda: subject.metric("outbox_pending") == 1, "a pending event")
    assert mine(subject, first) == []
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(lambda: mine(subject, first) == [first], "the event to arrive")


def test_a_slow_broker_delays_every_event(subject: Subject, first: int) -> None:
    subject.add("latency", attributes={"latency_ms": 400}, point="publish")
    happen(subject, first)
    assert mine(subject, first) == []
    wait_until(lambda: mine(subject, first) == [first], "the event to arrive")
    (row,) = subject.armed()
    assert row["effective_s"] is not None


def test_a_reordered_event_is_overtaken_and_not_lost(subject: Subject, first: int) -> None:
    subject.add("reorder", attributes={"back_ms": 300}, scope={"first_n": 1})
    happen(subject, first, first + 1, first + 2)
    wait_until(lambda: len(mine(subject, first)) == 3, "all three", SETTLED_S)
    assert mine(subject, first) == [first + 1, first + 2, first]


def test_a_stalled_consumer_falls_behind_and_catches_up(subject: Subject, first: int) -> None:
    fault = subject.add("stall", point="consume")
    happen(subject, first, first + 1, first + 2)
    wait_until(lambda: subject.fault(fault["fault_id"])["hits"] == 1, "the consumer to stall")
    wait_until(lambda: subject.metric("inbox_lag") >= 3, "the lag to show")
    assert mine(subject, first) == []
    subject.lab("DELETE", f"faults/{fault['fault_id']}")
    wait_until(
        lambda: mine(subject, first) == [first, first + 1, first + 2], "all three", SETTLED_S
    )


def test_a_poisoned_event_becomes_a_dead_letter_and_others_are_handled(
    subject: Subject, first: int, stored: Callable[[str], int]
) -> None:
    before = stored("DEAD")
    fault = subject.add("poison", scope={"first_n": 1})
    happen(subject, first, first + 1)
    wait_until(lambda: mine(subject, first) == [first + 1], "the healthy one")
    wait_until(lambda: stored("DEAD") == before + 1, "the dead letter", 15)
    assert mine(subject, first) == [first + 1]
    assert subject.fault(fault["fault_id"])["hits"] == 3  # every delivery, this message alone


def test_an_event_that_is_garbage_becomes_a_dead_letter_at_once(
    subject: Subject, first: int, stored: Callable[[str], int]
) -> None:
    before = stored("DEAD")
    subject.add("poison", point="publish", scope={"first_n": 1, "route": "events."})
    happen(subject, first, first + 1)
    wait_until(lambda: stored("DEAD") == before + 1, "the dead letter")
    wait_until(lambda: mine(subject, first) == [first + 1], "the healthy one")


def test_an_event_dropped_by_the_consumer_is_removed_from_the_stream(
    subject: Subject, first: int
) -> None:
    subject.add("drop", point="consume", scope={"first_n": 1})
    happen(subject, first)
    settle(subject, first)
    assert mine(subject, first) == [first + 98]


def test_an_event_with_a_lost_acknowledgement_is_redelivered_and_has_one_effect(
    subject: Subject, first: int
) -> None:
    """While the broker waits for the acknowledgement, it counts the event as pending."""
    fault = subject.add("lost_ack", point="consume", scope={"first_n": 1})
    happen(subject, first)
    wait_until(lambda: mine(subject, first) == [first], "the effect")
    wait_until(lambda: subject.metric("inbox_lag") == 1, "the broker to wait for the lost one")
    wait_until(
        lambda: subject.fault(fault["fault_id"])["evidence"]["seen"] == 2,
        "the event to come again",
        15,
    )
    wait_until(lambda: subject.metric("inbox_lag") == 0, "the second one's acknowledgement")
    assert mine(subject, first) == [first]
