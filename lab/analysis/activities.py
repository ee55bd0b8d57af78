"""The phases of a run and the activities of its method, with their times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from lab.analysis.windows import Band, load_span
from lab.archive import Run


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
                "not as expected"
                if step.get("tolerance_met") is False
                else str(step.get("status")),
            )
        )
    return found


def _epoch_s(text: object) -> float | None:
    """Epoch seconds of a time in the journal. Chaos Toolkit writes UTC without a time zone."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
