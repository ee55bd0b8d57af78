"""Decisions from intervals: several limits at once, the data that a decision needs, equivalence."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from lab.analysis.intervals.binomial import CONFIDENCE, clopper_pearson
from lab.analysis.intervals.estimates import Interval

# More requests than any run sends: a share so close to its limit stays undecided.
MOST_REQUESTS = 1e9


def holm(
    decided: Callable[[int, float], bool], limits: int, *, confidence: float = CONFIDENCE
) -> list[float]:
    """The confidence of each limit's interval, such that `confidence` is that of all of them together.

    `decided(i, confidence)`: whether limit i is kept or broken at this confidence. With m limits, each
    starts at 1 - a/m. When some are decided, the r others are examined at 1 - a/r (Holm 1979).
    """
    alpha = 1.0 - confidence
    used: dict[int, float] = {}
    while len(used) < limits:
        left = [i for i in range(limits) if i not in used]
        level = 1.0 - alpha / len(left)
        used |= {i: level for i in [i for i in left if decided(i, level)] or left}
    return [used[i] for i in range(limits)]


def requests_needed(
    share: float, limit: float, *, tau: float = 1.0, confidence: float = CONFIDENCE
) -> int | None:
    """The number of requests that decides a limit, if the share of bad requests stays as observed.

    An error ratio is limited by `limit` itself. A p95 is limited by 0.05: `share` is then the share of
    requests that are slower than the limit in ms. tau: as observed, `Interval.tau`. 0 bad requests
    decide 1% at 299. None if share and limit are (nearly) equal. Subtract the requests of the run.
    """
    if not math.isfinite(tau) or share == limit:
        return None

    def decides(n: float) -> bool:
        low, high = clopper_pearson(share * n, n, confidence)
        return high < limit if share < limit else low > limit

    low, high = 0, 1
    while not decides(high):
        low, high = high, 2 * high
        if high > MOST_REQUESTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return math.ceil(high * tau)


class Equivalence(StrEnum):
    """Where the interval of a ratio is: within the margin, outside of it, or across its border."""

    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


def ratio_interval(before: Interval, during: Interval) -> Interval:
    """`during` by `before` of two independent samples, from the intervals of both.

    Method of variance estimates recovery on logarithms (Zou and Donner 2008). If `during` is 0 it has no
    logarithm: from 0 to its upper by the other's lower end. Both ends are None if an end of an interval is
    unknown or `before` is 0.
    """
    ends = [before.low, before.high, during.low, during.high]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends) or before.value <= 0:
        return Interval(math.nan, None, None, before.note or during.note or "a value is 0")
    if during.value <= 0:
        return Interval(0.0, 0.0, known[3] / known[0] if known[0] > 0 else math.inf)
    low, high, during_low, during_high = (math.log(end) if end else -math.inf for end in known)
    middle, during_middle = math.log(before.value), math.log(during.value)
    change = during_middle - middle
    down = math.hypot(during_middle - during_low, high - middle)
    up = math.hypot(during_high - during_middle, middle - low)
    return Interval(math.exp(change), math.exp(change - down), math.exp(change + up))


def equivalent(before: Interval, during: Interval, margin: float) -> Equivalence:
    """Whether `during` differs from `before` by less than a factor of 1 + margin, up or down.

    Two one-sided tests (Schuirmann 1987): equivalent if the whole interval of the ratio is within the
    margin, different if it is outside, else inconclusive. Raises ValueError for a margin of 0 or less.
    """
    return placed(ratio_interval(before, during), margin)


def placed(ratio: Interval, margin: float) -> Equivalence:
    """Where the interval of a ratio is; inconclusive without one. Raises ValueError for a margin of 0 or less."""
    if margin <= 0:
        raise ValueError(f"margin {margin!r}: expected more than 0")
    if ratio.low is None or ratio.high is None:
        return Equivalence.INCONCLUSIVE
    least, most = 1.0 / (1.0 + margin), 1.0 + margin
    if least <= ratio.low and ratio.high <= most:
        return Equivalence.EQUIVALENT
    if ratio.high < least or ratio.low > most:
        return Equivalence.DIFFERENT
    return Equivalence.INCONCLUSIVE
