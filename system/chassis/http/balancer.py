"""Which instance of a service gets the next call: the less busy of two, none that is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from chassis.resilience.outlier import OutlierEjection


@dataclass(slots=True)
class CallCopies:
    """The copies of one logical call (its retries and hedges): who was asked, whether one answered."""

    tried: list[str] = field(default_factory=list)
    answered: bool = False


@dataclass(slots=True)
class CallCopy:
    """One copy of a call at the instance `name`; ended by exactly one of the balancer's verbs."""

    name: str
    era: int


class Balancer:
    """Two choices by chance, the less busy of them; outcomes are told to the ejection.

    An instance that this logical call has tried already is only asked again if there is no other.
    """

    def __init__(self, ejection: OutlierEjection, rng: Random) -> None:
        self._ejection = ejection
        self._rng = rng
        self._in_flight: dict[str, int] = {}

    def begin(self, names: Sequence[str], copies: CallCopies, *, eject: bool = True) -> CallCopy:
        """A copy of the call goes out to one of `names` (at least one); with `eject` none that is
        left out just now, unless there is no other."""
        usable = self._ejection.available(names) if eject else names
        fresh = [name for name in usable if name not in copies.tried] or usable
        name = fresh[0] if len(fresh) == 1 else min(self._rng.sample(fresh, 2), key=self._busy)
        copies.tried.append(name)
        self._in_flight[name] = self._busy(name) + 1
        return CallCopy(name, self._ejection.admit(name))

    def answered(self, copy: CallCopy, copies: CallCopies, seconds: float) -> None:
        """It answered well after `seconds`."""
        copies.answered = True
        self._end(copy)
        self._ejection.record(copy.name, copy.era, True, seconds)

    def failed(self, copy: CallCopy, seconds: float) -> None:
        """It failed, or took longer than it may."""
        self._end(copy)
        self._ejection.record(copy.name, copy.era, False, seconds)

    def cancelled(self, copy: CallCopy, copies: CallCopies) -> None:
        """It was cut short. That says nothing of the instance, unless another copy was faster: then
        it says "slow", or hedging would hide a slow instance from the ejection for ever."""
        self._end(copy)
        if copies.answered:
            self._ejection.overtaken(copy.name, copy.era)
        else:
            self._ejection.release(copy.name, copy.era)

    def _busy(self, name: str) -> int:
        return self._in_flight.get(name, 0)

    def _end(self, copy: CallCopy) -> None:
        self._in_flight[copy.name] -= 1
