"""What a verdict needs of experiment.yaml, Chaos Toolkit's journal, and the steps in chaos.ndjson."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence.shapes import mapping, mappings, misfits, shape, unsteady
from lab.archive import Run

JOURNAL = shape(
    str="status start end", bool="deviated", dict="experiment steady_states", list="run rollbacks"
)
DONE = shape(str="status start end", dict="activity")
STATE = shape(bool="steady_state_met", list="probes")
WHEN = ("before", "during", "after")


def journal(run: Run, claim: Claim) -> Iterator[str]:
    """The whole experiment was done: each planned activity and rollback, and the steady states."""
    if not (run.path / "experiment.yaml").is_file():
        yield "experiment.yaml is missing"
    content = run.journal
    if content is None:
        yield "journal.json is missing"
        return
    yield from misfits("journal.json", content, JOURNAL)
    copy = dict(mapping(content.get("experiment")))
    copy.pop("dry", None)  # added by the toolkit
    if copy != json.loads(json.dumps(claim.experiment, default=str)):
        yield "journal.json: its experiment differs from experiment.yaml"
    stopped = bool(run.info.get("guard")) or unsteady(run)
    for key, planned in (("run", claim.activities), ("rollbacks", claim.rollbacks)):
        done = mappings(content.get(key))
        names = [_name(each) for each in done]
        if stopped and key == "run":
            continue  # the rest of the method was not done, and the last activity was cut off
        for name in planned:
            if name not in names:
                yield f"journal.json: the planned activity {name!r} is not in {key}"
        for each in done:
            where = f"journal.json: {key}: {_name(each)!r}"
            yield from misfits(where, each, DONE)
            if "output" not in each:
                yield f"{where}: output is missing"
    yield from _steady_states(mapping(content.get("steady_states")), stopped)


def _steady_states(states: Mapping[str, Any], stopped: bool) -> Iterator[str]:
    for when in WHEN:
        found = states.get(when)
        several = found if isinstance(found, list) else [found] if found else []
        if not several and not (stopped and when != "before"):
            yield f"journal.json: the steady state {when} the method is missing"
        for each in several:
            yield from misfits(f"journal.json: steady state {when}", each, STATE)


def steps(run: Run, claim: Claim) -> Iterator[str]:
    """chaos.ndjson is written while the experiment runs: it has each activity of the journal."""
    file = run.path / "chaos.ndjson"
    if not file.is_file():
        yield "chaos.ndjson is missing"
        return
    try:
        events = [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError:
        yield "chaos.ndjson is damaged"
        return
    ends = [(each.get("what"), each.get("name")) for each in mappings(events) if _ended(each)]
    if "experiment" not in [what for what, _ in ends]:
        yield "chaos.ndjson: the end of the experiment is missing"
    content = run.journal or {}
    done = [_name(each) for key in ("run", "rollbacks") for each in mappings(content.get(key))]
    for name in done:
        if ("activity", name) not in ends:
            yield f"chaos.ndjson: the end of the activity {name!r} is missing"


def _ended(event: Mapping[str, Any]) -> bool:
    return event.get("edge") == "end"


def _name(entry: Mapping[str, Any]) -> str:
    return str(mapping(entry.get("activity")).get("name"))
