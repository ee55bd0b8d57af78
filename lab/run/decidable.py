"""What the limits of an experiment can decide: arithmetic on load and windows, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from lab.analysis.intervals import Equivalence, Interval, equivalent, holm
from lab.analysis.intervals.binomial import clopper_pearson, smallest_n
from lab.analysis.intervals.decisions import requests_needed
from lab.analysis.intervals.dependence import FEWEST
from lab.analysis.verdict.unchanged import MEASURES
from lab.chaos.experiment.loader import Experiment
from lab.chaos.experiment.plan import Sli
from lab.load.percentiles import quantile
from lab.load.profiles import Profile

Needed = Callable[[float], float]


@dataclass(frozen=True)
class Forecast:
    """Whether a limit can be decided by about `expected` requests if none of them is bad.

    needed: requests that decide it at best; more if requests depend on each other. never: why no run
    of this load decides it, whatever its length. smallest: the smallest error ratio that can be decided.
    """

    name: str
    expected: float
    needed: float
    never: str = ""
    smallest: float | None = None

    @property
    def enough(self) -> bool:
        return not self.never and self.expected >= self.needed

    def text(self) -> str:
        """E.g. `orders without error: needs 299 requests, the window brings about 75: too few`."""
        if self.never:
            return f"{self.name}: can never be kept: {self.never}"
        brings = f"needs {self.needed:,.0f} requests, the window brings about {self.expected:,.0f}"
        smallest = (
            f"; the smallest error ratio that it can decide is {100 * self.smallest:.2g}%"
            if self.smallest is not None
            else ""
        )
        return f"{self.name}: {brings}{'' if self.enough else ': too few'}{smallest}"


@dataclass(frozen=True)
class _Planned:
    """A limit with its expected number of requests, and the number that it needs by confidence."""

    name: str
    expected: float
    needed: Needed
    never: str = ""
    is_ratio: bool = False

    def at(self, confidence: float) -> Forecast:
        smallest = None
        if self.is_ratio and self.expected:
            smallest = 1.0 - (1.0 - confidence) ** (1.0 / self.expected)
        return Forecast(self.name, self.expected, self.needed(confidence), self.never, smallest)


def forecasts(experiment: Experiment, profile: Profile) -> list[Forecast]:
    """One for each limit and each measure that must not change, at the confidence of the whole run."""
    windows = _windows_s(experiment)
    limits = [_limit(sli, profile, windows[sli.window]) for sli in experiment.plan.slis]
    if (same := experiment.plan.expects.unchanged) is not None:
        expected = _rate(profile, same.route) * min(windows["before"], windows["during"])
        for measure in same.measures or MEASURES:
            name = f"{measure} of {same.route or 'all requests'} is unchanged"
            limits.append(_Planned(name, expected, _needed_unchanged(measure, same.margin)))
    levels = holm(lambda i, level: limits[i].at(level).enough, len(limits))
    return [limit.at(level) for limit, level in zip(limits, levels, strict=True)]


def one_line(found: Sequence[Forecast]) -> str:
    """What a run can decide, for its start."""
    if not found:
        return "limits: none"
    short = "; ".join(each.text() for each in found if not each.enough)
    able = sum(each.enough for each in found)
    return f"limits: this load can decide {able} of {len(found)}{'; ' + short if short else ''}"


def _limit(sli: Sli, profile: Profile, seconds: float) -> _Planned:
    rate = _rate(profile, sli.route)
    what = f"{sli.measure} of {sli.route or 'all routes'} {sli.window}"
    name = f"{sli.name} ({what})" if sli.name else what
    never = "" if rate else f"the load {profile.name!r} sends no such request"
    if sli.measure == "goodput_per_s":
        if 0 < rate <= sli.limit:
            never = f"the load {profile.name!r} brings {rate:g}/s, the limit is {sli.limit:g}/s"
        return _Planned(name, rate * seconds, _needed_goodput(rate, sli.limit), never)
    q = quantile(sli.measure)
    needed = _needed_ratio(sli.limit) if q is None else _needed_quantile(q)
    return _Planned(name, rate * seconds, needed, never, is_ratio=q is None)


def _needed_ratio(limit: float) -> Needed:
    return lambda confidence: requests_needed(0.0, limit, confidence=confidence) or math.inf


def _needed_quantile(q: float) -> Needed:
    return lambda confidence: max(FEWEST, smallest_n(q, confidence))


def _needed_goodput(rate: float, limit: float) -> Needed:
    """A Poisson count is above its limit by z standard deviations."""

    def needed(confidence: float) -> float:
        z = NormalDist().inv_cdf((1.0 + confidence) / 2)
        return math.ceil((z * rate / (rate - limit)) ** 2) if rate > limit else math.inf

    return needed


def _needed_unchanged(measure: str, margin: float) -> Needed:
    q = quantile(measure)
    if q is not None:
        return _needed_quantile(q)

    def needed(confidence: float) -> float:
        n = 1
        while n < 1e9:
            good = Interval(1.0, clopper_pearson(n, n, confidence)[0], 1.0)
            if equivalent(good, good, margin) == Equivalence.EQUIVALENT:
                return n
            n = math.ceil(1.05 * n) + 1
        return math.inf

    return needed


def _rate(profile: Profile, route: str) -> float:
    rates = profile.rate_per_s_by_route
    return rates.get(route, 0.0) if route else sum(rates.values())


def _windows_s(experiment: Experiment) -> dict[str, float]:
    """About how long each window is. The longest TTL of a fault is the length of `during`."""
    phases = experiment.plan.phases
    return {
        "before": phases.before_s,
        "during": min(experiment.fault_s or phases.method_s, phases.method_s),
        "after": phases.after_s,
        "all": phases.total_s - phases.warmup_s,
    }
