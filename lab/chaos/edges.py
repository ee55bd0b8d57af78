"""Chaos Toolkit actions on edges: toxics, partitions between groups, and their removal.

They need a lab that was started by `lab up --proxied`. The fault proxy enforces each TTL: a fault ends even if
this process dies. Each action that adds faults returns the run's fault rows (docs/archive.md).
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
    """Put a fault on an edge (`orders->payments-1`), on the edges to all instances of a service
    (`orders->payments`), or on all that match stars (`*->bank`). docs/faults.md lists the kinds.
    """
    scope = {"share": share} | ({"stream": stream} if stream else {})
    spec = {"kind": kind, "attributes": attributes or {}, "scope": scope}
    client = FaultClient(configured_lab(configuration))
    added = client.add_fault(edge, spec | {"ttl_s": ttl_s, "seed": seed})
    return [record.to_row() for record in added]


def partition(
    groups: Sequence[Sequence[str]],
    ttl_s: float,
    one_way: bool = False,
    configuration: Configuration | None = None,
) -> list[dict[str, Any]]:
    """Cut every edge between different groups of services, servers and `ingress`.

    What is in no group still reaches all others: a partial partition. With `one_way` there are two groups, and
    only the bytes from the first to the second are cut: its requests and its answers.
    """
    client = FaultClient(configured_lab(configuration))
    cut = Partition.of(groups, one_way=one_way)
    return [record.to_row() for record in client.partition(cut, ttl_s)]


def heal(edge: str | None = None, configuration: Configuration | None = None) -> int:
    """Remove every fault from the edges, or from those that match; returns their number. Other faults stay."""
    return FaultClient(configured_lab(configuration)).clear(edge or "*->*")
