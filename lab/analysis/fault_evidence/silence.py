"""How long a process gave no sign of life, by its spans, its callers and the recorder's scrapes and probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.analysis.fault_evidence.effect import DRIFT, Effect
from lab.analysis.fault_evidence.windows import Windows, longest_gap, usual_gap_s
from lab.archive import Run

RECORDER = "recorder"
LOOKS_S = 1.5  # the recorder looks each second, or a little later on a busy machine
SEEN_S_MIN = 2.0  # if the recorder looked for less time than this, it saw nothing
LEAST_SHARE = 0.5  # of the fault's time
MEASURE = "longest silence"
# A use of a database that is cancelled at its deadline ends without an error: it is a sign only where no probe is.
SIGNS = """
    SELECT time_s FROM metrics WHERE name IN ('up', 'probe_success') AND instance = $target AND value = 1
    UNION ALL SELECT end_ns / 1e9 FROM spans
        WHERE kind = 'client' AND peer = $target AND coalesce(status, '') <> 'error'
            AND NOT EXISTS (FROM metrics WHERE name = 'probe_success' AND instance = $target)
    UNION ALL SELECT unnest([start_ns, end_ns]) / 1e9 FROM spans WHERE instance = $target AND $spans
    ORDER BY 1
"""
LOOKS = """
    SELECT DISTINCT time_s FROM metrics
    WHERE name IN ('up', 'probe_success') AND instance <> $target ORDER BY 1
"""


@dataclass(frozen=True)
class Signs:
    """Sorted epoch seconds: `own` when the process did something, `looks` when the recorder looked at any other.

    The recorder's own signs are its looks.
    """

    target: str
    own: Sequence[float]
    looks: Sequence[float]


def signs_of_life(run: Run, target: str, *, spans: bool = True) -> Signs:
    """`spans`: whether a span of the process itself is a sign."""
    looks = [time for (time,) in run.sql(LOOKS, {"target": target}).fetchall()]
    if target == RECORDER:
        return Signs(target, looks, looks)
    found = run.sql(SIGNS, {"target": target, "spans": spans}).fetchall()
    return Signs(target, [time for (time,) in found], looks)


def silence(
    signs: Signs, windows: Windows, least_s: float = 0.0
) -> tuple[Effect, tuple[float, float]]:
    """The longest silence during the fault, and its two ends in epoch seconds.

    It counts as far as it is longer than the longest one before, and only while the recorder looked. Without
    `least_s`, half of the fault's time is the least that counts.
    """
    own, start_s = signs.own, windows.during[0]
    usual_s = max((usual_gap_s(part) for part in windows.quiet(own)), default=0.0)
    witness = "the archive" if signs.target == RECORDER else "recorder and callers"
    if not usual_s:
        note = "no sign of it is recorded before"
        nothing = Effect(MEASURE, witness, "s", None, None, None, None, None, 1.0, note)
        return nothing, (start_s, start_s)
    gap = longest_gap(own, *windows.during)
    longest_s = gap[1] - gap[0]
    blind_s = 0.0 if signs.target == RECORDER else _blind_s(signs, windows)
    seen_s = windows.lasted_s - blind_s
    low, note = longest_s - blind_s - (1 + DRIFT) * usual_s, ""
    if blind_s and seen_s < SEEN_S_MIN:
        low, note = 0.0, f"the recorder itself was silent for {blind_s:.1f} s"
    effect = Effect(
        MEASURE, witness, "s", usual_s, longest_s, longest_s - usual_s,
        low, longest_s, least_s or max(LEAST_SHARE * seen_s, 0.1), note,
    )  # fmt: skip
    return effect, gap


def _blind_s(signs: Signs, windows: Windows) -> float:
    """Seconds of the fault's time in which the recorder looked at no other process either."""
    start_s, end_s = windows.during
    first, last = longest_gap(signs.looks, start_s, end_s)
    gap_s = min(last, end_s) - max(first, start_s)
    return gap_s if gap_s > LOOKS_S else 0.0
