"""Evidence for a fault of a whole process: what its callers and the recorder saw of it, never what its injector did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.effect import Effect, presence, shift
from lab.analysis.fault_evidence.judged import CONFIRMED, DEATHS, MISMATCH, Judged
from lab.analysis.fault_evidence.measures import calls_at
from lab.analysis.fault_evidence.silence import silence
from lab.analysis.fault_evidence.windows import Windows, windows_of
from lab.archive import Run

BACK_S = 10.0  # a killed process is looked for so long, if it is not ready again before
DEATH_SILENCE_S = 0.5  # a process that is started again is not ready sooner
THROTTLED_MS = 10.0
THROTTLED_QUANTILE = 0.9
PAUSE_MARGIN_S = 0.2  # a span's clock may be a little off, and a span may start in the last moment
# What confirms each kind, for docs/faults.md.
EVIDENCE = {
    "kill": f"it starts again (its start time in scrapes), or no sign of it for {DEATH_SILENCE_S:g} s longer than ever before",
    "terminate": "as kill",
    "outage": "no sign of it for half of the time longer than ever before: scrapes, probes, its spans, its callers' calls",
    "pause": "as outage, and none of its spans starts meanwhile",
    "disconnect": "as outage, without its own spans",
    "cpu_limit": f"the 90th percentile of calls at it is {THROTTLED_MS:g} ms longer",
    "memory_limit": "it starts again (its start time in scrapes)",
}  # fmt: skip


def judge(run: Run, fault: FaultRecord) -> Judged:
    windows = windows_of(run, fault)
    if fault.kind in DEATHS:
        return _death(run, fault, windows)
    if fault.kind == "cpu_limit":
        return _judged(fault, [_slower(run, fault, windows)])
    if fault.kind == "memory_limit":
        return _judged(fault, [restarts(run, fault, windows)])
    found = _judged(fault, [silence(run, fault, windows, spans=fault.kind != "disconnect")[0]])
    spans = _spans_started(run, fault) if fault.kind == "pause" else 0
    if spans:
        why = f"{spans} spans started in it while it was stopped by the record"
        return Judged(fault, MISMATCH, why, found.evidence)
    return found


def _death(run: Run, fault: FaultRecord, windows: Windows) -> Judged:
    """`down_s` and `back_s` in the evidence: seconds until it was missed and until the next sign of it."""
    start_s = windows.during[0]
    lasts = fault.kind == "outage"
    if not lasts and fault.kind != "crash_loop" and fault.removed_s is None:
        windows = Windows(windows.before, (start_s, start_s + BACK_S))
    least_s = 0.0 if lasts else DEATH_SILENCE_S
    quiet, (down_at, back_at) = silence(run, fault, windows, least_s=least_s)
    again = restarts(run, fault, windows, least=_deaths(fault))
    found = _judged(fault, [quiet] if lasts else [again, quiet])
    # an outage or a crash that is not over has no next sign
    known = quiet.status == CONFIRMED or again.status == CONFIRMED
    seen = {"down_s": max(0.0, down_at - start_s) if known else None, "back_s": None}
    if known and (again.status == CONFIRMED or _sign_after(run, fault, back_at)):
        seen["back_s"] = back_at - start_s
    return Judged(fault, found.status, found.why, found.evidence | seen)


def restarts(run: Run, fault: FaultRecord, windows: Windows, least: int = 1) -> Effect:
    """How often the process had a new start time, by the recorder's scrapes."""
    found = run.sql(
        "SELECT time_s, value FROM metrics WHERE name = 'process_start_time_seconds'"
        " AND instance = ? ORDER BY time_s",
        [fault.target],
    ).fetchall()
    start_s, end_s = windows.during
    latest_s = end_s + BACK_S
    before = [value for time, value in found if time < start_s]
    after = [value for time, value in found if start_s <= time <= latest_s]
    known = set(before[-1:])
    # a scrape at the moment of the kill may still show the old process
    chances = sum(time > end_s + 1.0 for time, _ in found) if known else 0
    earlier = {value for time, value in found if any(a <= time <= b for a, b in windows.before)}
    effect = presence(
        "new start times", "recorder", max(0, len(earlier) - 1), len(set(after) - known), chances
    )
    if least > 1 and effect.low is not None:
        return _at_least(effect, least)
    return effect


def _at_least(effect: Effect, least: int) -> Effect:
    from dataclasses import replace

    return replace(effect, least=float(least))


def _deaths(fault: FaultRecord) -> int:
    """A crash loop has at least two deaths if its time is long enough for them."""
    if fault.kind != "crash_loop":
        return 1
    after_s = float(fault.attributes.get("after_s", 1.0))
    return 2 if (fault.ttl_s or 0.0) >= 2 * (after_s + BACK_S / 4) else 1


def _slower(run: Run, fault: FaultRecord, windows: Windows) -> Effect:
    """Of its server spans, else of the calls that services make to it."""
    before, during = (
        [ms for part in parts for ms in _durations_ms(run, fault.target, *part)]
        for parts in (windows.before, (windows.during,))
    )
    return shift(
        "90th percentile of calls", "the calls", "ms", before, during, THROTTLED_MS,
        quantile=THROTTLED_QUANTILE,
    )  # fmt: skip


def _durations_ms(run: Run, target: str, start_s: float, end_s: float) -> list[float]:
    found = run.sql(
        """
        SELECT (end_ns - start_ns) / 1e6 FROM spans
        WHERE start_ns BETWEEN ? AND ? AND (
            (kind = 'server' AND instance = ?) OR (kind = 'client' AND peer = ?))
        ORDER BY start_ns
        """,
        [int(start_s * 1e9), int(end_s * 1e9), target, target],
    ).fetchall()
    return [ms for (ms,) in found]


def _sign_after(run: Run, fault: FaultRecord, time_s: float) -> bool:
    """Whether the recorder or a caller saw the process at this time or later."""
    from lab.analysis.fault_evidence.silence import signs_of_life

    return any(sign >= time_s for sign in signs_of_life(run, fault.target))


def _spans_started(run: Run, fault: FaultRecord) -> int:
    """Spans that the instance started while it was stopped."""
    if fault.effective_s is None or fault.removed_s is None:
        return 0
    start_s, end_s = fault.effective_s + PAUSE_MARGIN_S, fault.removed_s - PAUSE_MARGIN_S
    (count,) = run.sql(
        "SELECT count(*) FROM spans WHERE instance = ? AND start_ns BETWEEN ? AND ?",
        [fault.target, int(start_s * 1e9), int(end_s * 1e9)],
    ).fetchall()[0]
    return int(count)


def _judged(fault: FaultRecord, effects: Sequence[Effect]) -> Judged:
    """Confirmed if one of the effects is; else the first of them decides."""
    chosen = next((each for each in effects if each.status == CONFIRMED), effects[0])
    evidence: dict[str, Any] = {"effect": chosen.as_dict(), "injector": fault.evidence}
    return Judged(fault, chosen.status, str(chosen), evidence)
