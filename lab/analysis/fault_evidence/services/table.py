"""What confirms each kind of fault at each point: the effect, its witness and its least size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chassis.cache import ANSWER_S
from chassis.fault_record import FaultRecord
from chassis.faults.scope import COUNTED
from chassis.postgres.connection import STATEMENT_S
from lab.analysis.fault_evidence.effect import Effect
from lab.analysis.fault_evidence.judged import INCONCLUSIVE, MISMATCH, Judged
from lab.analysis.fault_evidence.services import exchanges as on
from lab.analysis.fault_evidence.services import messages, resources
from lab.analysis.fault_evidence.services.seen import Measure, Ops, Seen
from lab.archive import Run

PART = ("route", "method")  # a use of the database is several statements


@dataclass(frozen=True)
class Witness:
    """`effect` says in words what must be seen, for docs/faults.md.

    certain: the archive shows each exchange that the fault should hit, so that no effect is a mismatch.
    blind: scope keys for which it does not.
    """

    effect: str
    measure: Measure
    certain: bool = True
    blind: tuple[str, ...] = ()


def database(seen: Seen) -> Ops:
    return seen.uses("postgres")


def cache(seen: Seen) -> Ops:
    return seen.uses("valkey", str(seen.fault.scope.get("method", "")))


def published(seen: Seen) -> Ops:
    return seen.messages("producer")


def consumed(seen: Seen) -> Ops:
    return seen.messages("consumer")


def deliveries(seen: Seen) -> Ops:
    return seen.deliveries()


def heartbeats(seen: Seen) -> Ops:
    return seen.internal("registry heartbeat")


def work_at_failpoint(seen: Seen) -> Ops:
    """The saga's step around the failpoint, else the calls of the target."""
    place = str(seen.fault.scope.get("failpoint", "")).partition(".")[2]
    step = place.removeprefix("before_").removeprefix("after_")
    return seen.internal(f"saga {step}") if seen.service == "orders" else seen.calls_in()


def gray(seen: Seen) -> Effect:
    """By its failures if it has any, else by its delays."""
    if seen.attribute("fail_share"):
        return on.refused(Seen.calls_in, "fail_share")(seen)
    return on.slow_share(Seen.calls_in, "latency_ms", "slow_share")(seen)


@dataclass(frozen=True)
class Point:
    """Exchanges at a point as the archive shows them."""

    find: Callable[[Seen], Ops]
    seen_by: str
    ceiling_s: float = math.inf
    certain: bool = True
    blind: tuple[str, ...] = ()


POINTS = {
    "inbound": Point(Seen.calls_in, "its callers' spans"),
    "outbound": Point(Seen.calls_out, "its own calls"),
    "database": Point(database, "its uses of the database", STATEMENT_S, blind=PART),
    "publish": Point(published, "its published events"),
    "consume": Point(consumed, "its handling of events"),
    "cache": Point(cache, "its cache commands", ANSWER_S, blind=("route",)),
    "registry": Point(heartbeats, "its heartbeats (one in ten)", certain=False),
    "failpoint": Point(work_at_failpoint, "the saga's step, or its callers' spans", certain=False),
}
PART_OF = f"{on.LEAST_SHARE:.0%} of the expected share"
LATER = f"the median takes {on.LEAST_DELAY:.0%} of `{{}}` longer; with a share, {PART_OF} takes that long"
FEW = 0.1  # of exchanges that fail visibly, where others succeed in spite of the fault
FEW_OF = f"{FEW * on.LEAST_SHARE:.0%}"


def _alike(name: str, at: Point) -> dict[tuple[str, str], Witness]:
    """The kinds that act alike at each point."""

    def witness(effect: str, measure: Measure) -> Witness:
        return Witness(f"{at.seen_by}: {effect}", measure, at.certain, at.blind)

    found = {
        "latency": witness(LATER.format("latency_ms"), on.late(at.find, ceiling_s=at.ceiling_s)),
        "stall": witness(
            f"not answered while it lasts, {PART_OF}", on.hanging(at.find, ceiling_s=at.ceiling_s)
        ),
    }
    if name in ("inbound", "outbound", "failpoint"):
        found["concurrency"] = witness(LATER.format("hold_ms"), on.late(at.find, "hold_ms"))
    return {(kind, name): each for kind, each in found.items()}


WITNESSES: dict[tuple[str, str], Witness] = {
    key: each for name, at in POINTS.items() for key, each in _alike(name, at).items()
} | {
    ("abort", "inbound"): Witness(
        f"its callers' spans: answered with `status`, {PART_OF}", on.refused(Seen.calls_in)
    ),
    ("abort", "outbound"): Witness(
        f"its own calls: answered with `status`, {PART_OF}", on.refused(Seen.calls_out)
    ),
    ("gray_failure", "inbound"): Witness(
        f"its callers' spans: answered with `status` (or took `latency_ms`), {PART_OF}",
        gray,
    ),
    ("bad_release", "inbound"): Witness(
        f"its callers' spans: answered with `status`, {PART_OF}",
        on.refused(Seen.calls_in, "error_share"), blind=("version", "arm"),
    ),
    ("corrupt", "inbound"): Witness(
        f"its callers' spans: {FEW_OF} of the answers cannot be read",
        on.damaged(Seen.calls_in, FEW), certain=False,
    ),
    ("corrupt", "outbound"): Witness(
        f"its own calls: {FEW_OF} of the answers cannot be read",
        on.damaged(Seen.calls_out, FEW), certain=False,
    ),
    ("truncate", "inbound"): Witness(
        f"its callers' spans: an answer cannot be read, {PART_OF}",
        on.damaged(Seen.calls_in), certain=False,
    ),
    ("drop_header", "outbound"): Witness(
        f"its own calls: rejected with 4xx, {PART_OF}", on.rejected(Seen.calls_out), certain=False
    ),
    ("duplicate", "outbound"): Witness(
        f"the callees' spans: a call arrives twice, {PART_OF}", on.repeated(Seen.calls_out)
    ),
    **{
        (kind, "database"): Witness(
            f"its callers' spans: {FEW_OF} of the calls fail",
            on.failing(Seen.calls_in, FEW), certain=False,
        )
        for kind in ("sql_error", "read_only", "down", "lost_ack", "disk_full")
    },
    ("slow_disk", "database"): Witness(
        f"its uses of the database: {FEW_OF} take `latency_ms`",
        on.slow_share(database, "latency_ms", expected=FEW), certain=False,
    ),
    **{
        (kind, "publish"): Witness(
            f"its published events: publishing fails, {PART_OF}", on.failing(published)
        )
        for kind in ("down", "lost_ack")
    },
    ("drop", "publish"): Witness(
        f"the consumers' spans: a consumed kind of event never arrives, {PART_OF}",
        on.lost(published),
    ),
    ("duplicate", "publish"): Witness(
        f"the consumers' spans: a consumed kind of event arrives twice, {PART_OF}",
        on.repeated(published),
    ),
    ("poison", "publish"): Witness(
        "the consumer's counter: a dead letter", messages.dead_letters(True)
    ),
    ("corrupt", "publish"): Witness(
        "the consumer's counter: a dead letter", messages.dead_letters(True, FEW), certain=False
    ),
    ("poison", "consume"): Witness(
        f"the consumer's counter: a dead letter; or its deliveries: an event comes {messages.OFTEN} times or more",
        messages.poisoned,
    ),
    ("corrupt", "consume"): Witness(
        f"its deliveries: an event is delivered again, {FEW_OF}",
        on.repeated(deliveries, FEW), certain=False,
    ),
    ("drop", "consume"): Witness(
        f"the audit of its inbox: a consumed event is not in it, {PART_OF}",
        messages.without_effect,
    ),
    **{
        (kind, "consume"): Witness(
            f"its deliveries: an event is delivered again, {PART_OF}", on.repeated(deliveries)
        )
        for kind in ("reorder", "lost_ack")
    },
    ("drop", "cache"): Witness(
        f"its uses of the database: more requests read it, by {on.LEAST_SHARE:.0%} of the rise to all",
        lambda seen: resources.database_reads(seen, instance=True, every=True),
        certain=False,
    ),
    ("down", "cache"): Witness(
        f"its uses of the database: more requests read it, by {on.LEAST_SHARE:.0%} of the rise to all",
        lambda seen: resources.database_reads(seen, instance=True, every=True),
        blind=("route", "method"),
    ),
    ("flush", "process"): Witness(
        f"the service's uses of the database: more requests read it, by {on.LEAST_SHARE:.0%} of the"
        " rise to every first request of a page after a flush",
        resources.database_reads,
    ),
    ("drop", "registry"): Witness(
        "the others' registries: they count one instance less", resources.missing_instances,
        certain=False,
    ),
    ("down", "registry"): Witness(
        "the others' registries: they count one instance less", resources.missing_instances,
        blind=(*COUNTED, "method", "route"),
    ),
    ("lock", "process"): Witness(
        f"its uses of the database: {resources.LEAST_LOCKED:.0%} last a second or longer",
        resources.locked_uses, certain=False,
    ),
    ("pool_hold", "process"): Witness(
        f"scrapes: {on.LEAST_DELAY:.0%} of `connections` more are in use", resources.held_connections
    ),
    ("block_loop", "process"): Witness(
        f"scrapes: {on.LEAST_DELAY:.0%} of the expected lag of the event loop", resources.loop_lag
    ),
    ("burn_cpu", "process"): Witness(
        f"scrapes: its child processes use {on.LEAST_SHARE:.0%} of the commanded processors",
        resources.children_cpu,
    ),
    ("memory", "process"): Witness(
        f"scrapes: resident memory grows by {on.LEAST_DELAY:.0%} of the way to `to_mb`", resources.resident_memory
    ),
    ("fd_limit", "process"): Witness(
        "scrapes: the limit of open files is `limit`", resources.open_files_limit
    ),
    ("disk_full", "process"): Witness(
        f"its log: {on.LEAST_DELAY:.0%} of its lines are missing", resources.missing_log_lines
    ),
    ("slow_disk", "process"): Witness(
        f"scrapes: {1000 * resources.LEAST_LAG:g} ms a second of lag of the event loop",
        resources.log_delay, certain=False,
    ),
    ("skew", "process"): Witness(
        f"scrapes: its clock is off by {on.LEAST_DELAY:.0%} of the commanded offset", resources.clock_offset
    ),
    ("slow_start", "start"): Witness(
        "scrapes: a start takes `delay_s` or longer", resources.slow_starts
    ),
}  # fmt: skip
NOTHING = "nothing in the archive shows this fault: it is never confirmed"


def confirmed_by(kind: str, point: str) -> str:
    """What must be seen of a kind of fault at a point, in words."""
    witness = WITNESSES.get((kind, point))
    return witness.effect if witness else NOTHING


def judge(run: Run, fault: FaultRecord) -> Judged:
    """By the effect that another part than the injector saw; the injector's hits are only shown."""
    seen, witness = Seen.of(run, fault), WITNESSES.get((fault.kind, fault.point))
    evidence: dict[str, Any] = {"claimed_hits": fault.hits}
    if witness is None:
        return Judged(fault, INCONCLUSIVE, NOTHING, evidence)
    effect = witness.measure(seen)
    return Judged(fault, *_decided(effect, fault, witness), evidence | effect.as_dict())


def _decided(effect: Effect, fault: FaultRecord, witness: Witness) -> tuple[str, str]:
    status, why = effect.status, str(effect)
    hidden = [key for key in witness.blind if key in fault.scope]
    if status == MISMATCH and effect.least > 0 and (hidden or not witness.certain):
        return INCONCLUSIVE, f"{why}; the archive does not show what it should have hit"
    return status, why
