"""What Chaos Toolkit's journal says about activities that failed and about the steady state, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.analysis.activities import outside_tolerance, reason_of
from lab.analysis.verdict.evidence.shapes import mapping, mappings
from lab.archive import Run

Step = Mapping[str, Any]


def failed_actions(run: Run) -> list[str]:
    """A sentence for each action of the method that failed, e.g. because the lab refused it."""
    return [
        f"the action {_name(step)} failed{_why(step)}"
        for step in _method(run)
        if step.get("status") == "failed" and mapping(step.get("activity")).get("type") != "probe"
    ]


def missed_probes(run: Run) -> list[str]:
    """A sentence for each probe of the method that failed or did not meet its tolerance."""
    return [
        f"the probe {_name(step)} failed{_why(step)}"
        for step in _method(run)
        if mapping(step.get("activity")).get("type") == "probe" and _missed(step)
    ]


def steady_states(run: Run) -> dict[str, bool]:
    """Whether the steady state was met `before`, `during` (at each check) and `after`, if checked."""
    return {
        when: all(bool(each.get("steady_state_met")) for each in found)
        for when in ("before", "during", "after")
        if (found := _states(run, when))
    }


def unmet(run: Run, when: str) -> str:
    """The first probe that missed the steady state, with its value: `: 'orders are fast': 3.4 is not within 3`."""
    for state in _states(run, when):
        for step in mappings(state.get("probes")):
            if _missed(step):
                return f": {_name(step)}{_why(step)}"
    return ""


def _states(run: Run, when: str) -> list[Step]:
    found = mapping((run.journal or {}).get("steady_states")).get(when)
    return mappings(found if isinstance(found, list) else [found] if found else [])


def _method(run: Run) -> list[Step]:
    return mappings((run.journal or {}).get("run"))


def _missed(step: Step) -> bool:
    return step.get("status") == "failed" or outside_tolerance(step)


def _name(step: Step) -> str:
    return repr(str(mapping(step.get("activity")).get("name", "?")))


def _why(step: Step) -> str:
    if reason := reason_of(step.get("exception")):
        return f": {reason}"
    if outside_tolerance(step):
        tolerance = mapping(step.get("activity")).get("tolerance")
        return f": {step.get('output')!r} is not within {tolerance!r}"
    return ""
