"""The proof of a fault of an edge: what the fault proxy counted on the wire, and what its caller's spans say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lab.archive import Run
from lab.topology import STORES

CALLS_MIN = 5  # fewer calls over the edge do not contradict the proxy's own count
DELAYS = ("latency_ms", "jitter_ms")


@dataclass(frozen=True)
class Crossed:
    """The caller's calls over the edge, begun and ended while the fault was in force: seconds, and failed ones."""

    seconds: tuple[float, ...]
    failed: int


def told(fault: dict[str, Any]) -> dict[str, Any] | None:
    """What the proxy wrote of this fault; None if it is none of an edge."""
    if fault.get("point") != "edge":
        return None
    try:
        evidence = json.loads(fault.get("evidence") or "{}")
    except (TypeError, ValueError):
        return {}
    return evidence if isinstance(evidence, dict) else {}


def crossed(run: Run, edge: str, start_s: float, end_s: float) -> Crossed | None:
    """None for edges whose calls leave no spans: to servers, and from the ingress."""
    caller, _, callee = edge.partition("->")
    if caller == "ingress" or callee in (*STORES, "smtp"):
        return None
    found = run.sql(
        """
        SELECT (end_ns - start_ns) / 1e9, status = 'error' OR coalesce(http_status, 0) >= 500
        FROM spans
        WHERE kind = 'client' AND service = ? AND start_ns >= ? AND end_ns <= ?
            AND json_extract_string(attributes, '$."breakwater.peer.instance"') = ?
        """,
        [caller, int(start_s * 1e9), int(end_s * 1e9), callee],
    ).fetchall()
    return Crossed(tuple(seconds for seconds, _ in found), sum(bool(bad) for _, bad in found))


def decide(fault: dict[str, Any], seen: dict[str, Any], during: Crossed | None) -> tuple[str, str]:
    """(status, why): the proxy's count is believed unless the calls contradict it."""
    kind, hits = str(fault["kind"]), int(fault["hits"] or 0)
    calls = len(during.seconds) if during else 0
    if fault["effective_s"] is None:
        return "mismatch", "the proxy took it and never put it in force"
    if kind == "noop":
        return "confirmed", f"it was on {seen.get('connections', 0)} connections, and did nothing"
    if not hits:
        if kind == "down" and during and during.failed:
            return "confirmed", f"{during.failed} of {calls} calls over the edge failed"
        if calls >= CALLS_MIN and _share(fault) == 1:
            return "mismatch", f"{calls} calls went over the edge and it hit none of them"
        return "inconclusive", "nothing passed the edge that it could have hit"
    least_s = _least_s(fault)
    if during and least_s and calls >= CALLS_MIN and _share(fault) == 1:
        quick = sum(each < least_s for each in during.seconds)
        if quick == calls:
            return "mismatch", f"all {calls} calls over the edge were faster than {least_s:g} s"
    counted = f"{hits} hits and {seen.get('bytes') or 0:,} bytes counted on the wire"
    if during is None:
        return "confirmed", counted
    return "confirmed", f"{counted}; {during.failed} of {calls} calls over the edge failed"


def _share(fault: dict[str, Any]) -> float:
    return float(_json(fault["scope"]).get("share", 1.0))


def _least_s(fault: dict[str, Any]) -> float:
    """The least delay that is promised; 0 for what does not delay, or by chance does not."""
    attributes = _json(fault["attributes"])
    if fault["kind"] != "latency" or attributes.get("distribution") == "normal":
        return 0.0
    latency_ms, jitter_ms = (float(attributes.get(name, 0.0)) for name in DELAYS)
    spread_ms = 0.0 if attributes.get("distribution") == "pareto" else jitter_ms
    return max(0.0, latency_ms - spread_ms) / 1000


def _json(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
