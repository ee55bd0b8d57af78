"""What confirms each kind of fault, for docs/faults.md."""

from __future__ import annotations

from collections.abc import Iterator

from chassis.faults.catalogue import entries
from lab.analysis.fault_evidence import edges, processes, services
from lab.analysis.fault_evidence.judged import DEATHS
from lab.fault_kinds.processes import KINDS


def confirmations() -> Iterator[tuple[str, str]]:
    """(fault, effect) of each kind; points with the same effect are one row."""
    for entry in entries():
        points: dict[str, list[str]] = {}
        for point in entry["points"]:
            points.setdefault(_effect(entry["kind"], point), []).append(point)
        for effect, names in points.items():
            yield f"`{entry['kind']}` at {', '.join(names)}", effect
    for kind, effect in processes.CONFIRMED_BY.items():
        if kind in KINDS:
            yield f"`{kind}` of a process", effect
    for kind, effect in edges.CONFIRMED_BY.items():
        yield f"`{kind}` of an edge", effect
    for kind, effect in edges.CONFIRMED_BY.items():
        yield f"`{kind}` of an edge", effect


def _effect(kind: str, point: str) -> str:
    return processes.CONFIRMED_BY[kind] if kind in DEATHS else services.confirmed_by(kind, point)
