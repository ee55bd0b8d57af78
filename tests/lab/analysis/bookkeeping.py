"""What the programs of a run write about their own work: numbers of rows, counts, steps, exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lab.load.schedule import Schedule
from lab.recorder.names import NUMBERED, RECORDED, RECORDER, ROWS_TOTAL

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]
DONE = {"status": "succeeded", "output": None}
MET = {"steady_state_met": True, "probes": []}


def numbered(tables: Tables, end_s: float) -> dict[str, list[Row]]:
    """The tables as their writers number them; the recorder's last rows say how many each table has."""
    counts = {name: len(tables[name]) for name in NUMBERED}
    counts["metrics"] += len(counts)
    own = [
        {"time_s": end_s, "service": RECORDER, "instance": RECORDER, "name": ROWS_TOTAL}
        | {"labels": {"table": name}, "value": float(count)}
        for name, count in counts.items()
    ]
    whole = {**tables, "metrics": [*tables["metrics"], *own]}
    return {name: [{"seq": n} | row for n, row in enumerate(rows)] for name, rows in whole.items()}


def recorder_json(tables: Tables, started_s: float, stopped_s: float) -> Row:
    return {
        **{"run_dir": "/simulated", "started_s": started_s, "stopped_s": stopped_s},
        "rows": {name: len(tables.get(name, ())) for name in RECORDED},
        "shed": dict.fromkeys(RECORDED, 0),
        **{"refused": {"traces": 0, "logs": 0}, "segments": {"compacted": 0, "failed": 0}},
        **{"scrape_failures": 0, "error": ""},
    }


def load_of(plan: Schedule, requests: Sequence[Row], history: Sequence[Row], start_s: float) -> Row:
    """run.json's `load` after a load that sent the whole schedule."""
    planned = len(plan.arrivals)
    return {
        **{"planned": planned, "sent": planned, "dropped": 0, "shoppers": plan.profile.sessions},
        **{"schedule_hash": plan.hash, "schedule_s": plan.duration_s},
        **{"started_s": start_s, "ended_s": start_s + plan.duration_s},
        "profile": plan.profile.planned(),
        "rate_per_s": plan.profile.rate_per_s_by_route,
        "rows": {"requests": len(requests), "history": len(history)},
    }


def load_json(load: Row, profile: str, seed: int) -> Row:
    """load.json, the load's own copy."""
    copied = (
        "schedule_hash",
        "shoppers",
        "started_s",
        "ended_s",
        "planned",
        "sent",
        "dropped",
        "rows",
    )
    own = {"profile": profile, "seed": seed, "attempts": load["rows"]["requests"]}
    return own | {name: load[name] for name in copied}


def journal_of(experiment: Row, start_s: float, end_s: float) -> Row:
    """The journal of an experiment in which all went as planned."""
    times = {"start": _utc(start_s), "end": _utc(end_s)}
    done = {
        key: [{"activity": each} | DONE | times for each in experiment[planned]]
        for key, planned in (("run", "method"), ("rollbacks", "rollbacks"))
    }
    return {
        **{"status": "completed", "deviated": False, "experiment": experiment, **times, **done},
        "steady_states": {"before": MET, "after": MET, "during": [MET, MET]},
    }


def steps_of(journal: Row, start_s: float) -> bytes:
    """chaos.ndjson: the begin and the end of each activity, and of the experiment."""
    activities = [each["activity"] for key in ("run", "rollbacks") for each in journal[key]]
    named = [("activity", each["name"]) for each in activities]
    events = [
        {"time_s": start_s, "what": what, "edge": edge, "name": name}
        for what, name in (*named, ("experiment", journal["experiment"]["title"]))
        for edge in ("begin", "end")
    ]
    return "".join(json.dumps(event) + "\n" for event in events).encode()


def _utc(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time_s))
