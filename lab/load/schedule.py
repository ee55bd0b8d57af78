"""The arrival schedule of an open-loop load: the time and action of each arrival, from one seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lab.load.profiles import Profile


@dataclass(frozen=True, slots=True)
class Arrival:
    """One shopper's task, due `at_s` seconds after the start, even if the shop is slow then."""

    seq: int
    at_s: float
    action: str


@dataclass(frozen=True)
class Schedule:
    """Arrivals in order of time; `hash` is the same for the same profile, seed and duration."""

    profile: Profile
    seed: int
    duration_s: float
    arrivals: tuple[Arrival, ...]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(f"{self.seed} {self.profile.sessions}\n".encode())
        for arrival in self.arrivals:
            digest.update(f"{arrival.at_s:.6f} {arrival.action}\n".encode())
        return digest.hexdigest()[:16]

    def due_before(self, at_s: float) -> int:
        """How many arrivals are due before `at_s` seconds after the start."""
        return sum(arrival.at_s < at_s for arrival in self.arrivals)

    def choices(self, arrival: Arrival) -> Random:
        """The arrival's own random generator: its choices do not depend on other arrivals."""
        return Random(f"{self.seed}:{arrival.seq}")


def make_schedule(profile: Profile, seed: int, duration_s: float) -> Schedule:
    """Arrivals of every action over `duration_s`; each action has its own random stream.

    A unit-rate process (exponential gaps for Poisson, gaps of one for constant) is mapped through
    the inverse of the cumulated rate. So a surge changes the rate, not the kind of process.
    """
    due: list[tuple[float, str]] = []
    for action, rate_per_s in sorted(profile.rate_per_s.items()):
        if rate_per_s > 0:
            rng = Random(f"{seed}:{action}")
            times = _times(profile, rate_per_s, duration_s, rng)
            due.extend((at_s, action) for at_s in times)
    due.sort()
    arrivals = (Arrival(seq, at_s, action) for seq, (at_s, action) in enumerate(due))
    return Schedule(profile, seed, duration_s, tuple(arrivals))


def _times(profile: Profile, rate_per_s: float, duration_s: float, rng: Random) -> Iterator[float]:
    segments = _segments(profile, rate_per_s, duration_s)
    start_s, end_s, rate = next(segments)
    # constant streams start at a random offset, or all actions would arrive in the same instant
    work = rng.random() if profile.arrivals == "constant" else rng.expovariate(1.0)
    while True:
        while work > (end_s - start_s) * rate:
            work -= (end_s - start_s) * rate
            following = next(segments, None)
            if following is None:
                return
            start_s, end_s, rate = following
        start_s += work / rate
        yield start_s
        work = 1.0 if profile.arrivals == "constant" else rng.expovariate(1.0)


def _segments(
    profile: Profile, rate_per_s: float, duration_s: float
) -> Iterator[tuple[float, float, float]]:
    """(start, end, rate) pieces that cover the duration, the surges among them."""
    at_s = 0.0
    for surge in profile.surge:
        if surge.from_s >= duration_s:
            break
        if surge.from_s > at_s:
            yield at_s, surge.from_s, rate_per_s
        yield surge.from_s, min(surge.to_s, duration_s), rate_per_s * surge.factor
        at_s = min(surge.to_s, duration_s)
    if at_s < duration_s or duration_s == 0:
        yield at_s, duration_s, rate_per_s
