"""Partitions: groups that are cut off from each other, as directions of edges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lab.chaos.faults.edge_specs import ARROW
from lab.chaos.faults.errors import FaultRefusedError, UnknownTargetError
from lab.nearest import did_you_mean


@dataclass(frozen=True)
class Partition:
    """`groups` have no member in common. Bytes from x to y are lost if they are in different groups;
    with `one_way` only those from the first group to the second.
    """

    groups: tuple[frozenset[str], ...]
    one_way: bool = False

    @classmethod
    def of(cls, groups: Sequence[Sequence[str]], *, one_way: bool = False) -> Partition:
        """Raises FaultRefusedError."""
        found = tuple(frozenset(group) for group in groups if not isinstance(group, str))
        if len(found) != len(groups) or len(found) < 2 or not all(found):
            raise FaultRefusedError(
                "a partition needs two or more groups of names, none of them empty"
            )
        if one_way and len(found) != 2:
            raise FaultRefusedError(
                f"one way is from one group to another: expected 2, got {len(found)}"
            )
        if twice := {
            name for group in found for name in group if sum(name in g for g in found) > 1
        }:
            raise FaultRefusedError(f"in two groups at once: {', '.join(sorted(twice))}")
        return cls(found, one_way)

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether bytes get from one to the other."""
        at, to = self._group(sender), self._group(receiver)
        if at is None or to is None or at == to:
            return True
        return self.one_way and (at, to) != (0, 1)

    def cuts(self, edges: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The edges (`orders->payments-1`) that it cuts, with the directions."""
        cut = {}
        for edge in edges:
            caller, callee = ends(edge)
            ways = {"upstream": (caller, callee), "downstream": (callee, caller)}
            if streams := tuple(way for way, ends in ways.items() if not self.passes(*ends)):
                cut[edge] = streams
        return cut

    def check(self, edges: Collection[str]) -> None:
        """Every member is at some end of an edge. Raises UnknownTargetError."""
        known = {name for edge in edges for name in ends(edge)}
        for name in sorted(frozenset().union(*self.groups) - known):
            hint = did_you_mean(name, known)
            raise UnknownTargetError(
                f"no service or server {name!r} at any edge.{hint} There are: {', '.join(sorted(known))}"
            )

    def _group(self, name: str) -> int | None:
        return next((n for n, group in enumerate(self.groups) if name in group), None)


def ends(edge: str) -> tuple[str, str]:
    """Caller and callee; the callee as a service."""
    caller, _, callee = edge.partition(ARROW)
    return caller, service_of(callee)


def service_of(callee: str) -> str:
    stem, _, number = callee.rpartition("-")
    return stem if stem and number.isdigit() else callee
