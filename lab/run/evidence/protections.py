"""Which protections a run was made with, as its instances hold them when it begins: for run.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.chaos.resilience import PolicyState

MIXED = "mixed"


def protections(held: Iterable[PolicyState]) -> dict[str, Any]:
    """`resilience` {edge: {profile, switched_off}}, `breakers` {edge: settings} of those that act.

    A profile that differs between the instances of an edge is "mixed", and what is switched off at
    one of them counts as off. Empty where no instance could be asked: what is not known is not told.
    """
    edges: dict[str, dict[str, Any]] = {}
    breakers: dict[str, dict[str, Any]] = {}
    for each in held:
        edge = edges.setdefault(each.edge, {"profile": each.view["profile"], "switched_off": []})
        if edge["profile"] != each.view["profile"]:
            edge["profile"] = MIXED
        edge["switched_off"] = sorted({*edge["switched_off"], *each.switched_off})
        breaker = each.policy("breaker")
        if breaker and breaker["enabled"] and "breaker" not in each.view["off"]:
            breakers[each.edge] = dict(breaker["settings"])
    return {"resilience": edges, "breakers": breakers} if edges else {}


def profile_of(edges: dict[str, dict[str, Any]]) -> str:
    """The step of the ladder that all edges are on; "mixed" if there is none."""
    profiles = {edge["profile"] for edge in edges.values()}
    return profiles.pop() if len(profiles) == 1 else MIXED
