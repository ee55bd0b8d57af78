"""The command for a fault of an edge: checked, and translated to the fault proxy's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from lab.chaos.faults.errors import FaultRefusedError
from lab.fault_kinds.edges import BOTH, KINDS, STREAMS
from lab.nearest import did_you_mean

ARROW = "->"
SCOPE = ("stream", "share")
TTL_S_MAX = 86_400.0


def is_edge(target: str | None) -> TypeGuard[str]:
    return target is not None and ARROW in target


@dataclass(frozen=True)
class EdgeFaultSpec:
    """`attributes` are the toxic's; `streams` the directions."""

    kind: str
    attributes: dict[str, Any]
    streams: tuple[str, ...]
    share: float
    ttl_s: float
    seed: int | None


def edge_fault_spec(spec: dict[str, Any]) -> EdgeFaultSpec:
    """Raises FaultRefusedError, which gives the expected values."""
    kind = KINDS.get(spec["kind"])
    if kind is None:
        hint = did_you_mean(str(spec["kind"]), KINDS)
        raise FaultRefusedError(
            f"no fault {spec['kind']!r} on an edge.{hint} There are: {', '.join(KINDS)}"
        )
    given, scope = dict(spec.get("attributes") or {}), dict(spec.get("scope") or {})
    _check_names("attribute", given, kind.attributes, spec["kind"])
    _check_names("scope", scope, SCOPE, "an edge")
    if missing := [name for name in kind.required if name not in given]:
        raise FaultRefusedError(f"{spec['kind']} needs {', '.join(missing)}")
    if spec.get("point") not in (None, "", "edge"):
        raise FaultRefusedError(f"point {spec['point']!r}: an edge has no other point than edge")
    stream, share = scope.get("stream", kind.stream), scope.get("share", 1.0)
    if stream not in (*STREAMS, BOTH):
        raise FaultRefusedError(f"stream {stream!r}: expected {', '.join(STREAMS)} or {BOTH}")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise FaultRefusedError(f"share {share!r}: expected a number above 0 and up to 1")
    return EdgeFaultSpec(
        spec["kind"],
        {**{kind.attributes[name]: value for name, value in given.items()}, **kind.fixed},
        STREAMS if stream == BOTH else (stream,),
        float(share),
        _ttl_s(spec.get("ttl_s")),
        spec.get("seed") or None,
    )


def _ttl_s(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < TTL_S_MAX:
        raise FaultRefusedError(f"ttl_s: expected seconds above 0 and below a day, got {value!r}")
    return float(value)


def _check_names(what: str, given: dict[str, Any], known: Any, where: str) -> None:
    for name in given:
        if name not in known:
            expected = ", ".join(known) or "none"
            raise FaultRefusedError(f"{what} {name!r} is unknown for {where}: expected {expected}")
