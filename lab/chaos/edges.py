"""Chaos Toolkit actions on the wire: toxics on edges, partitions between groups, and their end.

They need a lab that was started by `lab up --proxied`. The fault proxy enforces each TTL itself: whoever
dies, it ends. Answers are the run's fault rows (docs/archive.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.chaos.faults.client import FaultClient
from lab.chaos.faults.partitions import Partition
from lab.chaos.probes import Configuration, configured_lab


def add_toxic(
    edge: str,
    kind: str,
    ttl_s: float,
    attributes: dict[str, Any] | None = None,
    stream: str | None = None,
    share: float = 1.0,
    seed: int = 0,
    configuration: Configuration | None = None,
) -> list[dict[str, Any]]:
    """Put a fault on an edge (`orders->payments-1`), on a service's edges to another's instances
    (`orders->payments`), or on all that fit stars (`*->bank`). docs/faults.md has the kinds.
    """
    scope = {"share": share} | ({"stream": stream} if stream else {})
    spec = {"kind": kind, "attributes": attributes or {}, "scope": scope}
    placed = FaultClient(configured_lab(configuration)).add_fault(
        edge, spec | {"ttl_s": ttl_s, "seed": seed}
    )
    return [each.view for each in placed]


def partition(
    groups: Sequence[Sequence[str]],
    ttl_s: float,
    one_way: bool = False,
    configuration: Configuration | None = None,
) -> list[dict[str, Any]]:
    """Cut every edge between different groups of services, servers and `ingress`.

    Who is in no group goes on reaching everybody: a partial partition. With `one_way` there are two
    groups, and only what the first says to the second is cut: its requests, and its answers.
    """
    control = FaultClient(configured_lab(configuration))
    cut = Partition.of(groups, one_way=one_way)
    return [each.view for each in control.partition(cut, ttl_s)]


def heal(edge: str | None = None, configuration: Configuration | None = None) -> int:
    """Take every fault off the edges (that fit); how many there were. Other faults stay."""
    return FaultClient(configured_lab(configuration)).clear(edge or "*->*")
