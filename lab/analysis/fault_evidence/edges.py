"""Evidence for a fault of an edge: the calls over it as their caller saw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.crossings import Crossing, Crossings, crossings
from lab.analysis.fault_evidence.effect import DRIFT, Effect, decisive, rate, share, shift
from lab.analysis.fault_evidence.judged import INCONCLUSIVE, MISMATCH, Judged
from lab.archive import Run
from lab.fault_kinds.edges import KINDS

LEAST_SHARE = 1 / 3  # of the calls that the fault hits
LEAST_TIME = 1 / 2  # of the time that it promises
CUT_OFF_PER_S = 0.05  # most resets hit an idle connection
TURNED_AWAY_SHARE = 0.05
LEAST_SECONDS = 0.1
FAILED = "calls failed or refused"
UNANSWERED = "calls failed, refused or not answered while it lasted"
OPENED_PER_S = 0.2
NOTHING = "it has no effect by definition"
UNSEEN = "nothing in an archive shows when a connection is closed"
SECONDS = "a tenth of the seconds have such a call, more than before"
CALLS_FAIL = (
    "a third of the calls over it fail, are refused by the breaker or are not answered while it lasts, more than"
    f" before, or {SECONDS}"
)
SLOW = f"a third of the calls over it take the promised time or fail more than before, or {SECONDS}"
LOST = "the caller opens 0.2 connections a second more, or 0.05 calls a second more are cut off without an answer"
AWAY = "5% of the calls over it fail or take longer than all before, or a fifth of the seconds have such a call"
# What confirms each kind, for docs/faults.md.
CONFIRMED_BY = {
    "noop": f"never: {NOTHING}",
    "latency": f"{SLOW}, or the median call takes half of it longer",
    "bandwidth": "as latency, with half of a call's bytes by the rate as the promised time; rate 0: as partition",
    "slow_close": f"never: {UNSEEN}",
    "blackhole": CALLS_FAIL,
    "reset_peer": LOST,
    "slicer": "as latency, with half of the pauses between the chunks of a call as the promised time",
    "limit_data": LOST,
    "packet_loss": f"a third of loss_rate of the calls over it fail more than before, or {SECONDS}",
    "connection_cap": AWAY,
    "down": CALLS_FAIL,
    "partition": CALLS_FAIL,
}  # fmt: skip


def judge(run: Run, fault: FaultRecord) -> Judged:
    if fault.kind == "noop":
        return Judged(fault, INCONCLUSIVE, NOTHING, fault.evidence)
    if fault.effective_s is None:
        why = "the proxy accepted it and it never took effect"
        return Judged(fault, MISMATCH, why, fault.evidence)
    if fault.kind == "slow_close":
        return Judged(fault, INCONCLUSIVE, UNSEEN, fault.evidence)
    chosen = decisive(effects_of(fault, crossings(run, fault)))
    evidence: dict[str, Any] = {"effect": chosen.as_dict(), "injector": fault.evidence}
    return Judged(fault, chosen.status, str(chosen), evidence)


def effects_of(fault: FaultRecord, calls: Crossings) -> list[Effect]:
    """One of them is enough; without any, the first decides. A scope of some connections expects some calls."""
    hit = float(fault.scope.get("share", 1.0))
    if fault.kind in ("latency", "slicer") or _attribute(fault, "rate_kb_s"):
        return _slow(calls, _promised_s(fault, len(calls.during)), hit)
    if fault.kind in ("reset_peer", "limit_data"):
        cut_off = rate("calls cut off", "the caller", *calls.counts(lost), CUT_OFF_PER_S * hit)
        return [*_opened(calls), cut_off]
    if fault.kind == "packet_loss":
        return _more(calls, FAILED, failed, LEAST_SHARE * hit * _attribute(fault, "loss_rate"))
    if fault.kind == "connection_cap":
        longest_s = max((each.seconds for each in calls.before), default=0.0) * (1 + DRIFT)
        measure = f"calls failed or longer than {1000 * longest_s:.3g} ms"
        turned_away = slower_than(longest_s)
        return _more(calls, measure, turned_away, TURNED_AWAY_SHARE, 2 * LEAST_SECONDS)
    return _more(calls, UNANSWERED, unanswered(calls.windows.during[1]), LEAST_SHARE * hit)


def unanswered(end_s: float) -> Callable[[Crossing], bool]:
    """A caller without a timeout waits until the fault ends, and then gets an answer."""
    return lambda call: call.failed or call.start_s + call.seconds > end_s


def failed(call: Crossing) -> bool:
    return call.failed


def lost(call: Crossing) -> bool:
    return call.lost


def slower_than(least_s: float) -> Callable[[Crossing], bool]:
    """A call that failed may have been given up before it was slow."""
    return lambda call: call.failed or call.seconds >= least_s


def _more(
    calls: Crossings,
    measure: str,
    bad: Callable[[Crossing], bool],
    least: float,
    least_seconds: float = LEAST_SECONDS,
) -> list[Effect]:
    """More bad calls, or more seconds with one: the latter is certain sooner where failures come in groups."""
    return [
        share(measure, "the caller", *calls.outcomes(bad), least),
        share(
            f"seconds with {measure}",
            "the caller",
            *calls.seconds(bad),
            least_seconds * (least > 0),
        ),
    ]


def _slow(calls: Crossings, promised_s: float, hit: float) -> list[Effect]:
    """`promised_s`: the least time that the fault adds to a call that it hits."""
    measure = f"calls of {1000 * promised_s:.3g} ms or failed"
    late = _more(calls, measure, slower_than(promised_s), LEAST_SHARE * hit * (promised_s > 0))
    before, during = (
        np.array([1000 * each.seconds for each in part], dtype=np.float64)
        for part in (calls.before, calls.during)
    )
    # the median call is hit if most are
    least_ms = 1000 * LEAST_TIME * promised_s if hit > LEAST_TIME else 0.0
    return [*late, shift("median call", "the caller", "ms", before, during, least_ms)]


def _opened(calls: Crossings) -> list[Effect]:
    if calls.opened_before is None or calls.opened_during is None:
        return []
    before, during = calls.opened_before, calls.opened_during
    return [rate("connections opened", "the caller", before, during, OPENED_PER_S)]


def _promised_s(fault: FaultRecord, calls: int) -> float:
    """The least time that the fault adds to a call; of an unbounded distribution, a time that most exceed."""
    if fault.kind == "latency":
        latency_ms, jitter_ms = (_attribute(fault, name) for name in ("latency_ms", "jitter_ms"))
        if fault.attributes.get("distribution") == "pareto":
            jitter_ms = 0.0
        return max(latency_ms - jitter_ms, latency_ms / 2) / 1000
    # the injector's count of bytes says only how much a call carries, as a lower bound of the time
    carried = float(fault.evidence.get("bytes") or 0) / max(1, calls)
    if fault.kind == "slicer":
        chunks = carried / max(1.0, _attribute(fault, "average_bytes")) - 1
        return LEAST_TIME * max(0.0, chunks) * _attribute(fault, "delay_us") / 1e6
    return LEAST_TIME * carried / (1000 * _attribute(fault, "rate_kb_s"))


def _attribute(fault: FaultRecord, name: str) -> float:
    """Also under the toxic's name: the proxy's log lines have that one. 0 if the kind has none."""
    theirs: Callable[[str], str | None] = KINDS[fault.kind].attributes.get
    value = fault.attributes.get(name, fault.attributes.get(theirs(name) or name))
    return float(value or 0.0)
