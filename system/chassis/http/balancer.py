"""Chooses the instance for each call: of two chosen at random, the one with fewer calls in flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from chassis.resilience.outlier import OutlierEjection


@dataclass(slots=True)
class CallCopies:
    """The copies of one logical call (its retries and hedges): the instances tried, whether one answered."""

    tried: list[str] = field(default_factory=list)
    answered: bool = False


@dataclass(slots=True)
class CallCopy:
    """One copy of a call, at the instance `name`.

    It ends with exactly one of `answered`, `failed` and `cancelled`.
    """

    name: str
    era: int


class Balancer:
    """Chooses instances and reports every outcome to the outlier ejection.

    An instance that this logical call has already tried is used again only if there is no other.
    """

    def __init__(self, ejection: OutlierEjection, rng: Random) -> None:
        self._ejection = ejection
        self._rng = rng
        self._in_flight: dict[str, int] = {}

    def begin(self, names: Sequence[str], copies: CallCopies, *, eject: bool = True) -> CallCopy:
        """Start a copy of the call at one of `names` (at least one).

        With `eject`, an ejected instance is used only if there is no other.
        """
        usable = self._ejection.available(names) if eject else names
        fresh = [name for name in usable if name not in copies.tried] or usable
        name = fresh[0] if len(fresh) == 1 else min(self._rng.sample(fresh, 2), key=self._busy)
        copies.tried.append(name)
        self._in_flight[name] = self._busy(name) + 1
        return CallCopy(name, self._ejection.admit(name))

    def answered(self, copy: CallCopy, copies: CallCopies, seconds: float) -> None:
        """The instance answered without an error after `seconds`."""
        copies.answered = True
        self._end(copy)
        self._ejection.record(copy.name, copy.era, True, seconds)

    def failed(self, copy: CallCopy, seconds: float) -> None:
        """The copy failed or timed out."""
        self._end(copy)
        self._ejection.record(copy.name, copy.era, False, seconds)

    def cancelled(self, copy: CallCopy, copies: CallCopies) -> None:
        """The copy was cancelled, for example because another copy was faster.

        If another copy answered, the instance counts as overtaken. Without that, hedging would hide
        a slow instance from the ejection. Otherwise the outcome is not counted.
        """
        self._end(copy)
        if copies.answered:
            self._ejection.overtaken(copy.name, copy.era)
        else:
            self._ejection.release(copy.name, copy.era)

    def _busy(self, name: str) -> int:
        return self._in_flight.get(name, 0)

    def _end(self, copy: CallCopy) -> None:
        self._in_flight[copy.name] -= 1
