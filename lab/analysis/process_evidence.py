"""The proof of a fault of a whole process: what its supervisor saw, and what the archive says besides."""

from __future__ import annotations

import json
from typing import Any

from lab.runtimes.process_kinds import KINDS

PAUSE_MARGIN_S = 0.2  # a span may be told by a clock a little off, or have begun in the last moment


def told(fault: dict[str, Any]) -> dict[str, Any] | None:
    """What the supervisor wrote of this fault; None if it is none of its own."""
    if fault["kind"] not in KINDS:
        return None
    try:
        evidence = json.loads(fault.get("evidence") or "{}")
    except (TypeError, ValueError):
        return None
    return evidence if isinstance(evidence, dict) and "signal" in evidence else None


def decide(
    fault: dict[str, Any], seen: dict[str, Any], spans_during: int | None
) -> tuple[str, str]:
    """(status, why). `spans_during`: spans that the instance began meanwhile, None for a server."""
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
