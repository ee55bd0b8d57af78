"""Effects on messages: dead letters, and events without an effect."""

from __future__ import annotations

from lab.analysis.fault_evidence.effect import Effect, decisive, presence, share
from lab.analysis.fault_evidence.services.exchanges import LEAST_SHARE, arriving
from lab.analysis.fault_evidence.services.seen import Measure, Seen

# A consumer gives a message up after five deliveries, with 6 s between the first and the last.
GIVEN_UP_S = 7.0
SCRAPE_S = 2.0  # a counter is scraped each second
OFTEN = 3  # deliveries of one event: a second one also happens when an acknowledgement is lost


def dead_letters(published: bool, expected: float = 1.0) -> Measure:
    """A message that cannot be handled becomes a dead letter, which never happens otherwise."""

    def measure(seen: Seen) -> Effect:
        consumers = seen.consumers() if published else [seen.fault.target]
        grace_s = SCRAPE_S + GIVEN_UP_S * published
        before, during = seen.increase(
            "inbox_events_total", consumers, grace_s=grace_s, result="dead"
        )
        if published:  # only a message that a service consumes can become a dead letter
            ops = arriving(seen.messages("producer")).during
        else:
            ops = [op for op in seen.deliveries().during if op.start_s < seen.end_s - GIVEN_UP_S]
        return presence(
            "dead letters", "the consumer's counter", before, during, len(ops),
            expected * seen.fraction,
        )  # fmt: skip

    return measure


def poisoned(seen: Seen) -> Effect:
    """A dead letter; from a consumer that never gives up, an event that it is sent again and again."""
    ops = seen.deliveries()
    before, during = (
        sum(op.followers >= OFTEN for op in part) for part in (ops.before, ops.during)
    )
    often = presence(
        f"events delivered {OFTEN} times or more", ops.witness, before, during, len(ops.during)
    )
    return decisive([dead_letters(False)(seen), often])


def without_effect(seen: Seen) -> Effect:
    """An event that was consumed is not in the consumer's inbox at the end of the run."""
    table = f"{seen.service}.inbox"
    witness = f"the audit of {table}"
    if table not in seen.run.states:
        return share("events without an effect", witness, [], [], LEAST_SHARE)
    handled = {str(row[0]) for row in seen.run.state(table).project("event_id").fetchall()}
    events = dict(
        seen.run.sql(
            """SELECT span_id, json_extract_string(attributes, '$."messaging.message.id"')
            FROM spans WHERE kind = 'producer'"""
        ).fetchall()
    )
    ops = seen.deliveries()
    before, during = (
        [events[op.span_id] not in handled for op in part if events.get(op.span_id)]
        for part in (ops.before, ops.during)
    )
    return share("events without an effect", witness, before, during, LEAST_SHARE * seen.fraction)
