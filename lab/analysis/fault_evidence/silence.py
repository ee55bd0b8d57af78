"""How long a process gave no sign of life, by its spans, its callers and the recorder's scrapes and probes."""

from __future__ import annotations

from chassis.fault_record import FaultRecord
from lab.analysis.fault_evidence.effect import DRIFT, Effect
from lab.analysis.fault_evidence.windows import Windows, longest_gap, usual_gap_s
from lab.archive import Run

RECORDER = "recorder"
LOOKS_S = 1.5  # the recorder looks each second, or a little later on a busy machine
SEEN_S_MIN = 2.0  # if the recorder looked for less time than this, it saw nothing
LEAST_SHARE = 0.5  # of the fault's time
MEASURE = "longest silence"


def silence(
    run: Run, fault: FaultRecord, windows: Windows, *, spans: bool = True, least_s: float = 0.0
) -> tuple[Effect, tuple[float, float]]:
    """The silence of the fault's target and its two ends, epoch seconds.

    It counts as far as it is longer than the longest one before, and only while the recorder looked.
    `spans`: whether a span of the target is a sign. Without `least_s`, half of the time counts.
    """
    target = fault.target
    start_s, end_s = windows.during
    signs = signs_of_life(run, target, spans=spans)
    usual_s = max((usual_gap_s(part) for part in windows.quiet(signs)), default=0.0)
    witness = "the archive" if target == RECORDER else "recorder and callers"
    if not usual_s:
        note = "no sign of it is recorded before"
        nothing = Effect(MEASURE, witness, "s", None, None, None, None, None, 1.0, note)
        return nothing, (start_s, start_s)
    gap = longest_gap(signs, start_s, end_s)
    longest_s = gap[1] - gap[0]
    blind_s = 0.0 if target == RECORDER else _blind(run, target, windows)
    seen_s = windows.lasted_s - blind_s
    least_s = least_s or LEAST_SHARE * max(seen_s, 0.0)
    low, note = longest_s - blind_s - (1 + DRIFT) * usual_s, ""
    if blind_s and seen_s < SEEN_S_MIN:
        low, note = 0.0, f"the recorder itself was silent for {blind_s:.1f} s"
    effect = Effect(
        MEASURE, witness, "s", usual_s, longest_s, longest_s - usual_s,
        min(low, longest_s - usual_s), longest_s, least_s, note,
    )  # fmt: skip
    return effect, gap


def signs_of_life(run: Run, target: str, *, spans: bool = True) -> list[float]:
    """The sorted times at which the process did something; of the recorder, each of its looks."""
    if target == RECORDER:
        return _looks(run, "TRUE", [])
    times = _looks(run, "instance = ? AND value = 1", [target])
    own = "UNION ALL SELECT unnest([start_ns, end_ns]) / 1e9 FROM spans WHERE instance = $target"
    found = run.sql(
        "SELECT end_ns / 1e9 FROM spans WHERE kind = 'client' AND peer = $target"
        f" AND coalesce(status, '') <> 'error' {own if spans else ''}",
        {"target": target},
    ).fetchall()
    return sorted([*times, *(time for (time,) in found)])


def _blind(run: Run, target: str, windows: Windows) -> float:
    """Seconds of the fault's time in which the recorder looked at no other process either."""
    looks = _looks(run, "instance <> ?", [target])
    start_s, end_s = windows.during
    first, last = longest_gap(looks, start_s, end_s)
    gap_s = min(last, end_s) - max(first, start_s)
    return gap_s if gap_s > LOOKS_S else 0.0


def _looks(run: Run, condition: str, values: list[str]) -> list[float]:
    rows = run.sql(
        "SELECT DISTINCT time_s FROM metrics WHERE name IN ('up', 'probe_success')"
        f" AND {condition} ORDER BY 1",
        values,
    ).fetchall()
    return [time for (time,) in rows]
