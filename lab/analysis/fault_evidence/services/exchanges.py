"""Effects on exchanges: later, hanging, refused, damaged, repeated or lost ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from lab.analysis.fault_evidence.effect import Effect, share, shift
from lab.analysis.fault_evidence.services.seen import Measure, Op, Ops, Seen, milliseconds

Find = Callable[[Seen], Ops]
# Of the promised delay, and of the promised share of exchanges: what must be seen at least.
LEAST_DELAY = 1 / 2
LEAST_SHARE = 1 / 3
EARLY = 0.98  # clocks of two processes
LAST_S = 0.5  # an exchange that began in the fault's last moments says nothing about a hang
GIVEN_UP = ("TimedOut", "CancelledError")


def late(find: Find, attribute: str = "latency_ms", *, ceiling_s: float = math.inf) -> Measure:
    """Each exchange takes longer by the attribute, up to the time after which it is given up."""

    def measure(seen: Seen) -> Effect:
        ops = find(seen)
        delay_ms = min(seen.attribute(attribute), 1000 * ceiling_s)
        if attribute == "hold_ms" and not delay_ms:
            note = "hold_ms of 0 only makes requests queue: the archive has no measure of that"
            return Effect(
                "median duration", ops.witness, "ms", None, None, None, None, None, 1.0, note
            )
        given_up = sum(op.error in GIVEN_UP for op in ops.during)
        if delay_ms and (seen.partly or 2 * given_up >= len(ops.during) > 0):
            return _share_of(seen, ops, *_slow(delay_ms - seen.attribute("jitter_ms")))
        return shift(
            "median duration", ops.witness, "ms", milliseconds(ops.before),
            milliseconds(ops.during), LEAST_DELAY * delay_ms,
        )  # fmt: skip

    return measure


def hanging(find: Find, *, ceiling_s: float = math.inf) -> Measure:
    """No exchange is answered before the fault ends, or before its caller's timeout."""

    def measure(seen: Seen) -> Effect:
        ops = find(seen)

        def hangs(op: Op, end_s: float) -> bool:
            return op.failed or op.seconds >= EARLY * min(ceiling_s, end_s - op.start_s)

        during = [op for op in ops.during if op.start_s < seen.end_s - LAST_S]
        before = [op for op in ops.before if op.start_s < seen.start_s - LAST_S]
        return share(
            "not answered", ops.witness,
            [hangs(op, seen.start_s) for op in before],
            [hangs(op, seen.end_s) for op in during],
            LEAST_SHARE * seen.fraction,
        )  # fmt: skip

    return measure


def refused(find: Find, probability: str = "") -> Measure:
    """A share of the exchanges is answered with the fault's status."""

    def measure(seen: Seen) -> Effect:
        status = int(seen.attribute("status", 503))
        return _share_of(
            seen, find(seen), f"answered with {status}", lambda op: op.status == status,
            seen.attribute(probability) if probability else 1.0,
        )  # fmt: skip

    return measure


def failing(find: Find, expected: float = 1.0) -> Measure:
    """The exchanges fail."""
    return lambda seen: _share_of(seen, find(seen), "failed", lambda op: op.failed, expected)


def damaged(find: Find, expected: float = 1.0) -> Measure:
    """The answer arrives and cannot be read: the caller's span fails without a status."""
    return lambda seen: _share_of(
        seen, find(seen), "could not be read",
        lambda op: op.failed and not op.status and op.error not in GIVEN_UP, expected,
    )  # fmt: skip


def rejected(find: Find) -> Measure:
    """The callee rejects exchanges without the header (4xx)."""
    return lambda seen: _share_of(
        seen, find(seen), "answered with 4xx", lambda op: 400 <= (op.status or 0) < 500
    )


def repeated(find: Find, expected: float = 1.0) -> Measure:
    """The other side saw one exchange twice or more, of the kinds that it saw before."""
    return lambda seen: _share_of(
        seen, arriving(find(seen)), "arrived twice", lambda op: op.followers > 1, expected
    )


def lost(find: Find) -> Measure:
    """The other side never saw the exchange, of the kinds that it saw before."""
    return lambda seen: _share_of(
        seen, arriving(find(seen)), "never arrived", lambda op: not op.followers
    )


def arriving(ops: Ops) -> Ops:
    """Those of the kinds that arrived before."""
    names = {op.name for op in ops.before if op.followers}
    before, during = ([op for op in part if op.name in names] for part in (ops.before, ops.during))
    return Ops(ops.witness, before, during)


def slow_share(
    find: Find, attribute: str, probability: str = "", *, expected: float = 1.0
) -> Measure:
    """A share of the exchanges takes longer by the attribute."""

    def measure(seen: Seen) -> Effect:
        share_of_all = seen.attribute(probability) if probability else expected
        return _share_of(seen, find(seen), *_slow(seen.attribute(attribute, 1000.0)), share_of_all)

    return measure


def _slow(delay_ms: float) -> tuple[str, Callable[[Op], bool]]:
    """A call that was given up would have taken longer."""
    least_s = EARLY * max(0.0, delay_ms) / 1000
    return (
        f"took {1000 * least_s:,.0f} ms or was given up",
        lambda op: op.seconds >= least_s or op.error in GIVEN_UP,
    )


def _share_of(
    seen: Seen, ops: Ops, measure: str, hit: Callable[[Op], bool], expected: float = 1.0
) -> Effect:
    return share(
        measure, ops.witness, [hit(op) for op in ops.before], [hit(op) for op in ops.during],
        LEAST_SHARE * seen.fraction * expected,
    )  # fmt: skip
