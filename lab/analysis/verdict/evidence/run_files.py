"""What a verdict needs of run.json, load.json and recorder.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.analysis.verdict.claim import Claim
from lab.analysis.verdict.evidence.shapes import mapping, mappings, misfits, shape, unsteady
from lab.archive import Run
from lab.recorder.names import RECORDED

INFO = shape(
    str="run_id profile runtime topology_hash",
    int="archive_version seed port_base",
    float="started_s ended_s",
    bool="interrupted",
    dict="versions host machine breakers resilience observers load quiescence config exit_codes audit",
    list="arms blocks phases residue problems",
)
LOAD = shape(
    str="schedule_hash",
    int="shoppers planned sent dropped",
    float="schedule_s started_s ended_s",
    dict="rows rate_per_s profile",
)
PARTS = {
    "quiescence": shape(bool="reached", float="waited_s", dict="left"),
    "config": shape(str="resilience outbox idempotency stock_guard"),
    "versions": shape(str="breakwater python"),
    "host": shape(str="os", int="cpus memory_bytes"),
}
RECORDER = shape(
    dict="rows shed refused segments",
    str="run_dir error",
    int="scrape_failures",
    float="started_s stopped_s",
)
LOAD_COPIED = (
    *("schedule_hash", "shoppers", "started_s", "ended_s"),
    *("planned", "sent", "dropped", "rows"),
)
PHASES = ("warmup", "before", "method", "after", "drain")
PHASES_OF_LOAD = ("load", "drain")
# Chaos Toolkit exits with 1 if the hypothesis was not met, or if the experiment was stopped by its guard.
EXIT_CODES = {"chaos": (0, 1), "load": (0,)}


def run_json(run: Run, claim: Claim) -> Iterator[str]:
    yield from misfits("run.json", run.info, INFO)
    if not run.is_load:
        yield from misfits("run.json", run.info, shape(str="experiment"))
    for part, expected in PARTS.items():
        yield from misfits(f"run.json: {part}", run.info.get(part), expected)
    phases = mappings(run.info.get("phases"))
    names = [each.get("name") for each in phases]
    planned = PHASES_OF_LOAD if run.is_load else PHASES[:2] if unsteady(run) else PHASES
    for name in planned:
        if name not in names:
            yield f"run.json: the phase {name} is missing"
    for each in phases:
        yield from misfits(
            f"run.json: phase {each.get('name')}", each, shape(float="start_s end_s")
        )
    codes = mapping(run.info.get("exit_codes"))
    for tool in ("load",) if run.is_load else EXIT_CODES:
        allowed = EXIT_CODES[tool]
        if (code := codes.get(tool)) not in allowed or isinstance(code, bool):
            expected_codes = " or ".join(map(str, allowed))
            yield f"run.json: the exit code of {tool} is {code}, expected {expected_codes}"


def planned_load(run: Run, claim: Claim) -> Iterator[str]:
    yield from misfits("run.json: load", run.info.get("load"), LOAD)


def load_json(run: Run, claim: Claim) -> Iterator[str]:
    """load.json is written by the load itself; run.json has a copy."""
    own = _object(run, "load.json")
    if own is None:
        yield "load.json is missing or damaged"
        return
    copy = mapping(run.info.get("load"))
    for key in LOAD_COPIED:
        if own.get(key) != copy.get(key):
            yield f"load.json: {key} is {own.get(key)}, run.json has {copy.get(key)}"
    for key, other in (("profile", run.info.get("profile")), ("seed", run.info.get("seed"))):
        if own.get(key) != other:
            yield f"load.json: {key} is {own.get(key)}, run.json has {other}"
    attempts = run.sql("SELECT count(actual_start_s) FROM requests").fetchall()[0][0]
    if own.get("attempts") != attempts:
        yield f"load.json counts {own.get('attempts')} attempts, requests.parquet has {attempts:,}"


def recorder_json(run: Run, claim: Claim) -> Iterator[str]:
    counts = run.recorder
    yield from misfits("recorder.json", counts, RECORDER)
    for key in ("rows", "shed"):
        yield from misfits(
            f"recorder.json: {key}", mapping(counts).get(key), dict.fromkeys(RECORDED, int)
        )
    first, last = run.phase("load" if run.is_load else "warmup"), run.phase("drain")
    started_s, stopped_s = (mapping(counts).get(key) for key in ("started_s", "stopped_s"))
    if (
        not first
        or not last
        or not isinstance(started_s, float)
        or not isinstance(stopped_s, float)
    ):
        return
    if started_s > first[0] or stopped_s < last[1]:
        yield "recorder.json: the recording does not cover the run"


def _object(run: Run, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads((run.path / name).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
