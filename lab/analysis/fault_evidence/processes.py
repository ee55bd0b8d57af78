"""Evidence for a fault of a whole process: what its callers and the recorder saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.effect import Effect, presence, shift
from lab.analysis.fault_evidence.judged import CONFIRMED, DEATHS, INCONCLUSIVE, MISMATCH, Judged
from lab.analysis.fault_evidence.silence import signs_of_life, silence
from lab.analysis.fault_evidence.windows import Windows, windows_of
from lab.analysis.intervals import Values
from lab.archive import Run
from lab.fault_kinds.processes import KINDS

BACK_S = 10.0  # a killed process is looked for so long, if it is not ready again before
DEATH_SILENCE_S = 0.5  # a process that is started again is not ready sooner
THROTTLED_MS = 10.0
THROTTLED_QUANTILE = 0.9
PAUSE_MARGIN_S = 0.2  # a span's clock may be a little off, and a span may start in the last moment
# What confirms each kind, for docs/faults.md.
AGAIN = "the recorder scrapes a new start time"
DIED = f"{AGAIN}; of a server: it refuses a probe of the recorder"
SILENT = "no sign of it (scrape, probe, span, answered call)"
CONFIRMED_BY = {
    "kill": DIED,
    "terminate": DIED,
    "crash": DIED,
    "crash_loop": f"{AGAIN}, twice if its time is long enough",
    "outage": f"{SILENT} for half of its time longer than at any time before",
    "pause": f"{SILENT} for half of its time longer than at any time before",
    "disconnect": "no scrape, probe or answered call for half of its time longer than at any time before",
    "cpu_limit": "the 90th percentile of calls at it is 10 ms longer",
    "memory_limit": AGAIN,
}  # fmt: skip
Starts = Sequence[tuple[float, float]]  # (time of the scrape, start time of the process)
Refusals = Sequence[tuple[float, bool]]  # (time of the probe, whether it was refused)


def judge(run: Run, fault: FaultRecord) -> Judged:
    if fault.point == "process" and fault.kind in KINDS and fault.effective_s is None:
        return Judged(fault, MISMATCH, "it never took effect, by its own record", fault.evidence)
    windows = windows_of(run, fault)
    if fault.kind in DEATHS:
        return _death(run, fault, windows)
    if fault.kind == "cpu_limit":
        return _judged(fault, slower(*_durations_ms(run, fault.target, windows)))
    if fault.kind == "memory_limit":
        return _judged(fault, restarts(_starts(run, fault), windows))
    signs = signs_of_life(run, fault.target, spans=fault.kind != "disconnect")
    found = _judged(fault, silence(signs, windows)[0])
    if fault.kind == "pause" and (spans := _spans_started(run, fault)):
        why = f"{spans} spans started in it while it was stopped by the record"
        return replace(found, status=MISMATCH, why=why)
    return found


def _death(run: Run, fault: FaultRecord, windows: Windows) -> Judged:
    """`down_s` and `back_s` in the evidence: seconds until it was missed and until the next sign of it."""
    start_s = windows.during[0]
    lasts = fault.kind in ("outage", "crash_loop")
    if fault.removed_s is None and fault.kind in ("kill", "terminate"):
        windows = replace(windows, during=(start_s, start_s + BACK_S))
    signs = signs_of_life(run, fault.target)
    quiet, (down_at, back_at) = silence(signs, windows, 0.0 if lasts else DEATH_SILENCE_S)
    found = _judged(fault, quiet)
    if fault.kind != "outage":
        starts, refusals = _starts(run, fault), _refusals(run, fault)
        again = restarts(starts, windows, _deaths(fault)) if starts else refused(refusals, windows)
        if again.status != INCONCLUSIVE:  # certain; a silence may be that of a busy machine
            found = _judged(fault, again)
    seen: dict[str, float | None] = {"down_s": None, "back_s": None}
    if found.status == CONFIRMED:
        seen["down_s"] = max(0.0, down_at - start_s)
        seen["back_s"] = back_at - start_s if any(sign >= back_at for sign in signs.own) else None
    return replace(found, evidence=found.evidence | seen)


def restarts(starts: Starts, windows: Windows, least: int = 1) -> Effect:
    """How often the process had a new start time."""
    start_s, end_s = windows.during
    before = [value for time, value in starts if time < start_s]
    after = {value for time, value in starts if start_s <= time <= end_s + BACK_S}
    quiet = {value for time, value in starts if any(a <= time <= b for a, b in windows.before)}
    # a scrape at the moment of the kill may still show the old process
    chances = sum(time > end_s + 1.0 for time, _ in starts) if before else 0
    effect = presence(
        "new start times", "recorder",
        max(0, len(quiet) - 1), len(after - set(before)) if before else 0, chances,
    )  # fmt: skip
    return replace(effect, least=float(least))


def refused(refusals: Refusals, windows: Windows) -> Effect:
    """How often a server refused the recorder's connections."""
    start_s, end_s = windows.during
    before = sum(hit for time, hit in refusals if any(a <= time <= b for a, b in windows.before))
    probes = [hit for time, hit in refusals if start_s < time <= end_s]
    known = any(hit == 0 for time, hit in refusals if time < start_s)
    return presence("refused connections", "recorder", before, sum(probes), len(probes) * known)


def slower(before_ms: Values, during_ms: Values) -> Effect:
    """The calls at the process, by its server spans or by its callers."""
    return shift(
        "90th percentile of calls", "spans", "ms", before_ms, during_ms, THROTTLED_MS,
        quantile=THROTTLED_QUANTILE,
    )  # fmt: skip


def _deaths(fault: FaultRecord) -> int:
    """A crash loop has at least two deaths if its time is long enough for them."""
    if fault.kind != "crash_loop":
        return 1
    after_s = float(fault.attributes.get("after_s", 1.0))
    return 2 if (fault.ttl_s or 0.0) >= 2 * (after_s + BACK_S / 4) else 1


def _starts(run: Run, fault: FaultRecord) -> Starts:
    return run.sql(
        "SELECT time_s, value FROM metrics WHERE name = 'process_start_time_seconds'"
        " AND instance = ? AND value IS NOT NULL ORDER BY time_s",
        [fault.target],
    ).fetchall()


def _refusals(run: Run, fault: FaultRecord) -> Refusals:
    return run.sql(
        "SELECT time_s, json_extract_string(labels, 'outcome') = 'refused' FROM metrics"
        " WHERE name = 'probe_success' AND instance = ? ORDER BY time_s",
        [fault.target],
    ).fetchall()


def _durations_ms(run: Run, target: str, windows: Windows) -> tuple[Values, Values]:
    """(before, during)"""
    found = run.sql(
        "SELECT start_ns / 1e9, (end_ns - start_ns) / 1e6 FROM spans"
        " WHERE (kind = 'server' AND instance = $target) OR (kind = 'client' AND peer = $target)"
        " ORDER BY 1",
        {"target": target},
    ).fetchall()
    parts = (windows.before, (windows.during,))
    before, during = (
        np.array([ms for s, ms in found if any(a <= s < b for a, b in part)], dtype=np.float64)
        for part in parts
    )
    return before, during


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


def _judged(fault: FaultRecord, effect: Effect) -> Judged:
    evidence: dict[str, Any] = {"effect": effect.as_dict(), "injector": fault.evidence}
    return Judged(fault, effect.status, str(effect), evidence)
