"""The effect of a fault: one measure before and during it, seen by another part than its injector.

The interval of the change has 95% confidence. Without a fault, the change is far below the least
effect, so its interval reaches the least effect much more rarely than in 1 of 20 runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.analysis.fault_evidence.judged import CONFIRMED, INCONCLUSIVE, MISMATCH
from lab.analysis.intervals.binomial import Values, clopper_pearson, quantile_ranks, smallest_n
from lab.analysis.intervals.dependence import FEWEST, WINDOWS
from lab.analysis.intervals.estimates import quantile_interval, share_interval

# Of a working fault, an event that should have happened is missing with this probability.
MISSED = 0.01
# A machine drifts without a fault: each interval is wider by this share of the value before.
DRIFT = 0.2
# Poisson's distribution is the binomial one of so many trials.
MANY = 1e6


@dataclass(frozen=True)
class Effect:
    """One measure, `before` and `during` a fault, and the interval of its change in the fault's direction.

    witness: the part that saw it, never the injector. change: during - before, in `unit`. least: the
    least change that counts as the fault's effect, more than 0. An end is None if the data do not
    bound it; `note` says what is missing.
    """

    measure: str
    witness: str
    unit: str
    before: float | None
    during: float | None
    change: float | None
    low: float | None
    high: float | None
    least: float
    note: str = ""

    @property
    def status(self) -> str:
        """Confirmed if the whole interval reaches `least`, mismatch if none of it does."""
        if self.least <= 0:
            return MISMATCH
        if self.low is not None and self.low >= self.least:
            return CONFIRMED
        if self.high is not None and self.high < self.least:
            return MISMATCH
        return INCONCLUSIVE

    def as_dict(self) -> dict[str, Any]:
        """The form in verdict.json (docs/archive.md)."""
        return {name: _rounded(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        if self.least <= 0:
            return f"{self.measure}: the fault promises no effect"
        seen = f"{self.measure}, by {self.witness}: {_shown(self.before)} before, "
        seen += f"{_shown(self.during)} {self.unit} during"
        if self.low is not None or self.high is not None:
            seen += f"; changed by {_shown(self.low)} to {_shown(self.high)}"
        seen += f", at least {_shown(self.least)} expected"
        return f"{seen} ({self.note})" if self.note else seen


def shift(
    measure: str, witness: str, unit: str, before: Values, during: Values, least: float,
    *, quantile: float = 0.5,
) -> Effect:  # fmt: skip
    """The shift of a quantile of durations, gauges or rates per second; values in time order."""
    needed = smallest_n(quantile)
    note, ends = "", []
    if min(len(before), len(during)) < needed:
        note = f"{needed} observations needed, {len(before)} before and {len(during)} during"
    else:
        ends = [_quantile_ends(values, quantile) for values in (before, during)]
    middles = [
        float(np.quantile(values, quantile)) if len(values) else None for values in (before, during)
    ]
    return _change(measure, witness, unit, middles, ends, least, note)


def share(
    measure: str, witness: str, before: Sequence[bool], during: Sequence[bool], least: float
) -> Effect:
    """The change of a share of calls, in percent; outcomes in time order, least from 0 to 1."""
    note = f"{len(before)} calls before, {len(during)} during"
    shares = [
        100.0 * list(hits).count(True) / len(hits) if hits else None for hits in (before, during)
    ]
    ends = [_share_ends(hits) for hits in (before, during)] if before and during else []
    return _change(measure, witness, "%", shares, ends, 100.0 * least, note)


def rate(
    measure: str, witness: str, before: Sequence[float], during: Sequence[float], least: float
) -> Effect:
    """The change of the number of events a second, from the numbers in each second.

    Exact for Poisson's distribution (Garwood 1936); groups of events count as one (by the dispersion).
    """
    note = f"{len(before)} s before, {len(during)} s during"
    means = [sum(counts) / len(counts) if counts else None for counts in (before, during)]
    ends = [_rate_ends(counts) for counts in (before, during)] if before and during else []
    return _change(measure, witness, "a second", means, ends, least, note)


def _change(
    measure: str, witness: str, unit: str, values: list[float | None],
    ends: list[tuple[float, float]], least: float, note: str,
) -> Effect:  # fmt: skip
    """The difference of two estimates, from the ends of both, and DRIFT.

    Method of variance estimates recovery (Zou and Donner 2008).
    """
    before, during = values
    if before is None or during is None or not ends:
        return Effect(measure, witness, unit, before, during, None, None, None, least, note)
    (before_low, before_high), (during_low, during_high) = ends
    drift, change = DRIFT * abs(before), during - before
    low = change - math.hypot(during - during_low, before_high - before) - drift
    high = change + math.hypot(during_high - during, before - before_low) + drift
    return Effect(measure, witness, unit, before, during, change, low, high, least, note)


def decisive(effects: Sequence[Effect]) -> Effect:
    """The first that is confirmed, else the first: one of several effects is enough."""
    return next((each for each in effects if each.status == CONFIRMED), effects[0])


def presence(
    measure: str, witness: str, before: int, during: int, chances: int, expected: float = 1.0
) -> Effect:
    """An event that never happens without the fault: seen once, it is certain.

    chances: how often it could have happened during the fault, each time with probability `expected`.
    None seen is a mismatch if that happens to fewer than 1 in 100 working faults.
    """
    if before:
        low, high, note = 0.0, None, "it also happened before the fault"
    elif during:
        low, high, note = float(during), float(during), ""
    else:
        needed = chances_needed(expected)
        enough = needed is not None and chances >= needed
        low, high = 0.0, 0.0 if enough else None
        note = f"{chances} chances" + ("" if enough else f", {needed or 'more'} needed")
    return Effect(
        measure, witness, "times", float(before), float(during), float(during - before),
        low, high, 1.0, note,
    )  # fmt: skip


def chances_needed(expected: float) -> int | None:
    """The number of chances after which an event of this probability has happened, but in 1 of 100."""
    if expected >= 1.0:
        return 1
    if expected <= 0.0:
        return None
    return math.ceil(math.log(MISSED) / math.log1p(-expected))


def _quantile_ends(values: Values, q: float) -> tuple[float, float]:
    """Order statistics around the quantile, at the effective number of values.

    Too few values show no dependence: the exact ranks are then nearly the whole range. Where values
    depend on each other too much for a bound, the ends are 40% of the values away on each side.
    """
    if len(values) >= FEWEST:
        found = quantile_interval(values, q)
        if found.low is not None and found.high is not None:
            return found.low, found.high
        low, high = np.quantile(values, [max(0.0, q - 0.4), min(1.0, q + 0.4)])
        return float(low), float(high)
    ranks = quantile_ranks(len(values), q)
    assert ranks is not None
    ordered = np.sort(values)
    return float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])


def _share_ends(outcomes: Sequence[bool]) -> tuple[float, float]:
    """In percent, at the effective number of outcomes: at least 10, as a tenth of the time each."""
    found = share_interval(np.array(outcomes, dtype=np.bool_))
    effective = max(len(outcomes) / found.tau, min(len(outcomes), WINDOWS))
    low, high = clopper_pearson(found.value * effective, effective)
    return 100.0 * low, 100.0 * high


def _rate_ends(counts: Sequence[float]) -> tuple[float, float]:
    tau = _dispersion(counts)
    low, high = clopper_pearson(sum(counts) / tau, MANY)
    scale = MANY * tau / len(counts)
    return low * scale, high * scale


def _dispersion(counts: Sequence[float]) -> float:
    """The variance of the numbers by their mean, at least 1, in windows of 1 to 4 seconds."""
    found = 1.0
    for width in (1, 2, 4):
        whole = np.array(counts[: len(counts) // width * width], dtype=np.float64)
        sums = whole.reshape(-1, width).sum(axis=1)
        if len(sums) >= 3 and sums.any():
            found = max(found, float(np.var(sums, ddof=1) / np.mean(sums)))
    return found


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shown(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
