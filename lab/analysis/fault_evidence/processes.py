"""The proof of a fault of a whole process: what its supervisor saw, and what the archive says besides."""

from __future__ import annotations

import json
from typing import Any

from lab.fault_kinds.processes import KINDS

PAUSE_MARGIN_S = 0.2  # a span may be told by a clock a little off, or have begun in the last moment
USED_SHARE_MIN = 0.9  # of a memory limit: below it nobody can have felt it


def told(fault: dict[str, Any]) -> dict[str, Any] | None:
    """What the supervisor wrote of this fault; None if it is none of its own."""
    kind = KINDS.get(fault["kind"])
    if kind is None:
        return None
    try:
        evidence = json.loads(fault.get("evidence") or "{}")
    except (TypeError, ValueError):
        return None
    # a kill by the action kill_instance has evidence of its own, and no signal in it
    ours = "signal" if kind.signal else "pid"
    return evidence if isinstance(evidence, dict) and ours in evidence else None


def decide(
    fault: dict[str, Any], seen: dict[str, Any], spans_during: int | None
) -> tuple[str, str]:
    """(status, why). `spans_during`: spans that the instance began meanwhile, None for a server."""
    if KINDS[fault["kind"]].signal is None:
        return _held(fault["kind"], seen)
    if fault["effective_s"] is None:
        return "mismatch", f"{seen['signal']} was sent and had no effect"
    if fault["kind"] == "pause":
        if spans_during:
            return "mismatch", f"{spans_during} spans began in it while it was said to be stopped"
        if seen.get("stopped_until_the_end") is False:
            return "mismatch", "it was running again before the end"
        lasted_s = (fault["removed_s"] or 0.0) - fault["effective_s"]
        return (
            "confirmed",
            f"pid {seen.get('pid')} and its children were stopped for {lasted_s:.1f} s",
        )
    exit_code = seen.get("exit")
    if exit_code is None:
        return "inconclusive", f"{seen['signal']} was sent, but nobody saw the process end"
    back_s = seen.get("back_s")
    again = f"ready again after {back_s:.1f} s" if back_s is not None else "never seen ready again"
    return "confirmed", f"pid {seen.get('pid')} ended with {exit_code}, {again}"


def _held(kind: str, seen: dict[str, Any]) -> tuple[str, str]:
    """What the container engine held."""
    if left := seen.get("left"):
        return "mismatch", f"the engine did not undo it: {left}"
    if kind == "disconnect":
        if not seen.get("off"):
            return "mismatch", "the engine still had it on a network"
        if not seen.get("off_until_the_end", True):
            return "mismatch", "it was on a network again before the end"
        return "confirmed", "off " + ", ".join(seen["networks"])
    if kind == "cpu_limit":
        periods = seen.get("throttled_periods", 0)
        status = "confirmed" if periods > 0 else "inconclusive"
        return status, f"the kernel held it back in {periods} periods"
    kills, share = seen.get("oom_kills", 0), seen.get("used_share", 0.0)
    status = "confirmed" if kills or share > USED_SHARE_MIN else "inconclusive"
    return status, f"it used {share:.0%} of the limit at the end, ended for it {kills} times"
