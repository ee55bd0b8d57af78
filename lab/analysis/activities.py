"""The phases of a run and the activities of its method, with their times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab.analysis.windows import Band, load_span
from lab.archive import Run

# Chaos Toolkit wraps each error in its own, and both have the name of their module.
_WRAPPED = re.compile(r"^(?:chaoslib\.exceptions\.ActivityFailed: )?(?:\w+\.)*(?=\w+(?:: |$))")


@dataclass(frozen=True)
class Activity:
    """One activity of the method. `at_s`: seconds since the load began. `status`: succeeded, failed, ..."""

    number: int
    name: str
    type: str
    at_s: float
    took_s: float
    status: str


def phases(run: Run) -> list[Band]:
    """The phases of the run that have a start and an end, in order."""
    return [
        Band(str(each["name"]), float(each["start_s"]), float(each["end_s"]))
        for each in run.info.get("phases", [])
        if each.get("end_s") is not None
    ]


def activities(run: Run) -> list[Activity]:
    """The method's activities and the rollbacks, from Chaos Toolkit's journal."""
    journal = run.journal or {}
    start_s, _ = load_span(run)
    steps = [*journal.get("run", []), *journal.get("rollbacks", [])]
    found = []
    for number, step in enumerate(steps, start=1):
        activity = step.get("activity", {})
        began = _epoch_s(step.get("start"))
        if began is None:
            continue
        found.append(
            Activity(
                number,
                str(activity.get("name", "?")),
                str(activity.get("type", "")),
                began - start_s,
                float(step.get("duration") or 0.0),
                "not as expected" if outside_tolerance(step) else str(step.get("status")),
            )
        )
    return found


def outside_tolerance(step: Mapping[str, Any]) -> bool:
    """Whether a probe's output is not within its tolerance.

    Chaos Toolkit compares only the probes of the hypothesis, and ignores the tolerance of one in the method.
    """
    if "tolerance_met" in step:
        return step["tolerance_met"] is False
    activity = step.get("activity")
    tolerance = activity.get("tolerance") if isinstance(activity, dict) else None
    if tolerance is None or step.get("status") != "succeeded":
        return False
    from chaoslib.exceptions import ChaosException

    try:
        return not within(tolerance, step.get("output"))
    except (ChaosException, TypeError, ValueError):
        return True


def within(
    tolerance: object, value: object, configuration: object = None, secrets: object = None
) -> bool:
    """Whether Chaos Toolkit takes the value for within the tolerance. Raises as its function does.

    A fraction as tolerance is compared as an integer is: Chaos Toolkit meets none, not even 0.0 by 0.0.
    """
    from chaoslib.hypothesis import within_tolerance

    if isinstance(tolerance, float):
        return value == tolerance
    return bool(within_tolerance(tolerance, value, configuration, secrets))


def reason_of(exception: object) -> str:
    """The error behind a failed activity, e.g. `FaultRefusedError: orders-1 is not running`.

    `exception`: as in the journal, the lines of a traceback. "" without one.
    """
    last = str(exception[-1]) if isinstance(exception, list) and exception else ""
    return _WRAPPED.sub("", " ".join(last.split()))


def _epoch_s(text: object) -> float | None:
    """Epoch seconds of a time in the journal. Chaos Toolkit writes UTC without a time zone."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
