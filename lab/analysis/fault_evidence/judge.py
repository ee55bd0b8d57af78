"""Did each fault do what it was asked to? Confirmed, mismatch or inconclusive, with the proof."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from lab.analysis.fault_evidence import edges, processes
from lab.analysis.windows import run_span
from lab.archive import Run

REMOVAL_GRACE_S = 1.0  # a fault may outlive its TTL by that much, the injector's promise
LASTING = frozenset(
    {"crash", "crash_loop", "kill", "stop", "terminate", "outage"}
)  # over at once: nothing to remove
# Where a delay is a part of a call, and where it is beside all calls: there the injector's hits must do.
WITHIN = frozenset({"database", "cache"})
BESIDE = frozenset({"publish", "consume", "registry", "failpoint", "start", "process"})


@dataclass(frozen=True)
class Judged:
    """One fault: its row, what became of it, the sentence that says why, and the figures."""

    fault_id: str
    kind: str
    target: str
    commanded_s: float | None
    effective_s: float | None
    removed_s: float | None
    hits: int | None
    status: str
    why: str
    evidence: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge_faults(run: Run) -> list[Judged]:
    """Every fault of the run, in order of command.

    confirmed     it hit something, and spans or scrapes show the effect that its kind must have
    mismatch      it was commanded and did not do it, or stayed longer than its TTL
    inconclusive  nothing passed it, or the archive cannot tell
    """
    columns = run.faults.columns
    ordered = run.faults.order("commanded_s, fault_id").fetchall()
    return [_judge(run, dict(zip(columns, row, strict=True))) for row in ordered]


def _judge(run: Run, fault: dict[str, Any]) -> Judged:
    evidence = _evidence(run, fault)
    seen = processes.told(fault)
    on_edge = edges.told(fault)
    if on_edge is not None and not _overstayed(fault):
        evidence |= on_edge
        status, why = edges.decide(fault, on_edge, _crossed(run, fault))
    elif seen is None or _overstayed(fault):
        status, why = _decide(fault, evidence)
    else:
        status, why = processes.decide(fault, seen, _begun_in(run, fault))
        # the supervisor saw it itself; the scrapes only each second
        evidence |= seen | {"down_s": (fault["effective_s"] or 0.0) - fault["commanded_s"]}
        evidence["back_s"] = seen.get("back_s")
    known = {
        name: fault[name]
        for name in (
            "fault_id",
            "kind",
            "target",
            "commanded_s",
            "effective_s",
            "removed_s",
            "hits",
        )
    }
    return Judged(**known, status=status, why=why, evidence=evidence)


def _decide(fault: dict[str, Any], evidence: dict[str, Any]) -> tuple[str, str]:
    kind, hits = str(fault["kind"]), fault["hits"]
    if fault["commanded_s"] is None and fault["effective_s"] is None:
        return "inconclusive", "nobody recorded when it was commanded or took effect"
    if _overstayed(fault):
        late = fault["removed_s"] - fault["commanded_s"] - fault["ttl_s"]
        return "mismatch", f"it outlived its TTL of {fault['ttl_s']:g} s by {late:.1f} s"
    if kind in LASTING:
        return _decide_crash(evidence)
    if not hits:
        if evidence["calls_during"] == 0:
            return "inconclusive", "no call reached the target while it was active"
        if fault["effective_s"] is None:
            return "mismatch", f"{evidence['calls_during']} calls passed and none was hit"
    delay_s = _delay_s(fault)
    if delay_s is not None and fault["point"] in WITHIN:
        return _decide_within(hits, delay_s, evidence)
    if delay_s is not None:
        slow, slow_before = evidence["slow_during"], evidence["slow_before"]
        if slow == 0:
            return "inconclusive", f"{hits or 0} hits, but no span of {delay_s:g} s is recorded"
        if slow <= slow_before and slow_before > 0:
            return "inconclusive", "such slow calls were there before it too"
        return "confirmed", f"{hits or slow} hits; {slow} spans lasted {delay_s:g} s or more"
    if evidence["errors_during"] > evidence["errors_before"]:
        return "confirmed", (
            f"{hits or 0} hits; {evidence['errors_during']} failed calls,"
            f" {evidence['errors_before']} in as long a time before"
        )
    if hits:
        return "confirmed", f"{hits} hits counted by the injector"
    return "inconclusive", "neither its hits nor the spans tell of an effect"


def _decide_within(hits: int, delay_s: float, evidence: dict[str, Any]) -> tuple[str, str]:
    """A delay of a part of each call: calls as long as the delay there were before, but fewer."""
    during, before = evidence["median_ms_during"], evidence["median_ms_before"]
    if during is None or before is None:
        return "inconclusive", f"{hits} hits, but no call is recorded during it or before"
    if during - before < 1000 * delay_s:
        return (
            "inconclusive",
            f"{hits} hits, but the median call took {during - before:.0f} ms longer",
        )
    return "confirmed", f"{hits} hits; the median call took {during - before:.0f} ms longer"


def _decide_crash(evidence: dict[str, Any]) -> tuple[str, str]:
    if evidence["down_s"] is not None:
        back = evidence["back_s"]
        again = f", back after {back:.1f} s" if back is not None else ", never seen again"
        return "confirmed", f"its metrics were gone after {evidence['down_s']:.1f} s{again}"
    if evidence["silent_s"] is not None and evidence["silent_s"] >= 0.5:
        return "confirmed", f"no span started there for {evidence['silent_s']:.1f} s"
    if evidence["calls_before"] == 0:
        return "inconclusive", "the instance was silent before it too"
    return "mismatch", "the instance went on answering"


def _evidence(run: Run, fault: dict[str, Any]) -> dict[str, Any]:
    """Calls at the target while the fault was active, and in an equally long time before."""
    start = fault["effective_s"] or fault["commanded_s"]
    if start is None:
        return {}
    end = fault["removed_s"] or min(start + (fault["ttl_s"] or 30.0), run_span(run)[1])
    durations, errors = _spans(run, fault, start, end)
    earlier, earlier_errors = _spans(run, fault, start - (end - start), start)
    delay_s = _delay_s(fault)
    evidence: dict[str, Any] = {
        "calls_during": len(durations),
        "calls_before": len(earlier),
        "errors_during": errors,
        "errors_before": earlier_errors,
        "median_ms_during": _median_ms(durations),
        "median_ms_before": _median_ms(earlier),
    }
    if delay_s is not None:
        evidence["slow_during"] = sum(each >= 0.98 * delay_s for each in durations)
        evidence["slow_before"] = sum(each >= 0.98 * delay_s for each in earlier)
    if str(fault["kind"]) in LASTING:
        evidence |= _absence(run, str(fault["target"]), start)
    return evidence


def _spans(
    run: Run, fault: dict[str, Any], start_s: float, end_s: float
) -> tuple[list[float], int]:
    """(durations in s, errors) of server and client spans at the target that began in the window."""
    target = str(fault["target"]).split("->")[-1]
    found = run.sql(
        """
        SELECT (end_ns - start_ns) / 1e9, status = 'error' OR coalesce(http_status, 0) >= 500
        FROM spans
        WHERE start_ns BETWEEN ? AND ? AND (
            (kind = 'server' AND (instance = ? OR service = ?))
            OR (kind = 'client' AND (peer = ? OR peer LIKE '%->' || ?)))
        """,
        [int(start_s * 1e9), int(end_s * 1e9), target, target, target, _service(target)],
    ).fetchall()
    return [duration for duration, _ in found], sum(bool(error) for _, error in found)


def _crossed(run: Run, fault: dict[str, Any]) -> edges.Crossed | None:
    if fault["effective_s"] is None or fault["removed_s"] is None:
        return None
    return edges.crossed(run, str(fault["target"]), fault["effective_s"], fault["removed_s"])


def _begun_in(run: Run, fault: dict[str, Any]) -> int | None:
    """Spans that the instance began while it was stopped; None for what tells no spans."""
    if fault["effective_s"] is None or fault["removed_s"] is None:
        return None
    margin_s = processes.PAUSE_MARGIN_S
    start_s, end_s = fault["effective_s"] + margin_s, fault["removed_s"] - margin_s
    count, known = run.sql(
        "SELECT count(*) FILTER (start_ns BETWEEN ? AND ?), count(*) FROM spans WHERE instance = ?",
        [int(start_s * 1e9), int(end_s * 1e9), str(fault["target"])],
    ).fetchall()[0]
    return int(count) if known else None


def _absence(run: Run, instance: str, start_s: float) -> dict[str, Any]:
    """down_s, back_s: seconds until scrapes failed and worked again; silent_s: gap in its spans."""
    down, back = run.sql(
        """
        WITH up AS (SELECT time_s, value FROM metrics
                    WHERE name = 'up' AND instance = ? AND time_s >= ? ORDER BY time_s),
             down AS (SELECT min(time_s) AS at FROM up WHERE value = 0)
        SELECT down.at, (SELECT min(time_s) FROM up WHERE value = 1 AND time_s > down.at) FROM down
        """,
        [instance, start_s],
    ).fetchall()[0]
    after, before = run.sql(
        "SELECT min(start_ns) FILTER (start_ns > ?) / 1e9, max(end_ns) FILTER (start_ns <= ?) / 1e9"
        " FROM spans WHERE instance = ?",
        [int(start_s * 1e9), int(start_s * 1e9), instance],
    ).fetchall()[0]
    return {
        "down_s": None if down is None else down - start_s,
        "back_s": None if back is None else back - start_s,
        "silent_s": None if after is None or before is None else max(0.0, after - before),
    }


def _delay_s(fault: dict[str, Any]) -> float | None:
    """The least delay that the fault promises to calls; None for faults that do not delay any."""
    if fault["point"] in BESIDE:
        return None
    try:
        attributes = json.loads(fault["attributes"] or "{}")
    except ValueError:
        return None
    for name in ("latency_ms", "delay_ms", "latency"):
        if name in attributes:
            jitter = float(attributes.get("jitter_ms", attributes.get("jitter", 0.0)))
            return max(0.0, float(attributes[name]) - jitter) / 1000
    return None


def _overstayed(fault: dict[str, Any]) -> bool:
    times = (fault["commanded_s"], fault["removed_s"], fault["ttl_s"])
    if any(each is None for each in times):
        return False
    commanded, removed, ttl = times
    return bool(removed - commanded > ttl + REMOVAL_GRACE_S)


def _service(target: str) -> str:
    head, _, number = target.rpartition("-")
    return head if head and number.isdigit() else target


def _median_ms(durations: list[float]) -> float | None:
    return round(1000 * statistics.median(durations), 3) if durations else None
