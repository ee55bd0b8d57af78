"""Names everything that a verdict is based on, and what of it is missing, damaged or contradictory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lab.analysis.verdict.claim import Claim
from lab.archive import Run
from lab.archive.manifest import contradictions
from lab.archive.tables import ARCHIVE_VERSION, TABLES, missing_columns, parts

# Columns without a null in any row, and columns with a value in some row of every whole run.
NEVER_NULL = {
    "requests": "seq arm session route method logical_id attempt_no intended_start_s status outcome dropped",
    "spans": "trace_id span_id service instance arm name kind start_ns end_ns status",
    "logs": "time_s level service instance message attributes",
    "metrics": "time_s service instance name labels",
    "breakers": "time_s service instance edge policy kind state",
    "faults": "fault_id kind target point commanded_s",
    "history": "process type f key value time_s",
    "machine": "time_s",  # machine.py checks the rest
}
SOMEWHERE = {
    "requests": "actual_start_s end_s request_id bytes",
    "spans": "parent_span_id http_route http_status attributes",
    "logs": "trace_id",
    "metrics": "value",
    "breakers": "n failures slow previous reason",
    "faults": "effective_s hits",
    "history": "",
    "machine": "",
}
INFO: dict[str, type] = {
    **dict.fromkeys(("run_id", "experiment", "profile"), str),
    **dict.fromkeys(
        ("versions", "host", "breakers", "load", "quiescence", "config", "exit_codes"), dict
    ),
    **dict.fromkeys(("arms", "phases", "residue"), list),
    **{"seed": int, "started_s": float, "ended_s": float, "interrupted": bool},
}
LOAD: dict[str, type] = {
    **dict.fromkeys(("shoppers", "planned", "sent", "dropped"), int),
    **{"schedule_hash": str, "rows": dict, "rate_per_s": dict},
}
JOURNAL: dict[str, type] = {
    **{"status": str, "deviated": bool, "experiment": dict, "steady_states": dict},
    **{"run": list, "rollbacks": list},
}
PHASES = ("warmup", "before", "method", "after", "drain")
# Chaos Toolkit exits with 1 if the hypothesis was not met, or if the experiment was stopped by its guard.
EXIT_CODES = {"chaos": (0, 1), "load": (0,)}
GAP_ARRIVALS = 14  # P(a Poisson gap is 14 times the mean) is 1e-6


def gaps(run: Run, claim: Claim) -> list[str]:
    """One sentence for each gap in the evidence, with the file that has it; empty for a whole archive.

    The parts agree with each other, not only with the manifest: an archive whose manifest and counts were
    rewritten after a change must still be refused.
    """
    if run.info.get("run_id") and not run.info.get("experiment") and run.journal is None:
        return ["run.json: it has no experiment, and load alone has no claim to judge"]
    found: list[str] = []
    checks: tuple[Callable[[Run, Claim], Iterator[str]], ...] = (
        _manifest, _info, _tables, _columns, _counts, _sequence, _journal, _traces, _scrapes,
    )  # fmt: skip
    for check in checks:
        found += check(run, claim)
    return found


def _manifest(run: Run, claim: Claim) -> Iterator[str]:
    version = run.info.get("archive_version")
    if version != ARCHIVE_VERSION:
        yield f"run.json: the archive has version {version}, a verdict needs version {ARCHIVE_VERSION}"
    yield from contradictions(run.path)


def _info(run: Run, claim: Claim) -> Iterator[str]:
    yield from _mistyped("run.json", run.info, INFO)
    yield from _mistyped("run.json: load", run.info.get("load"), LOAD)
    names = [
        str(each.get("name")) for each in run.info.get("phases") or [] if isinstance(each, dict)
    ]
    yield from (f"run.json: the phase {name} is missing" for name in PHASES if name not in names)
    codes = run.info.get("exit_codes")
    for tool, allowed in EXIT_CODES.items():
        code = codes.get(tool) if isinstance(codes, dict) else None
        if code not in allowed:
            yield f"run.json: the exit code of {tool} is {code}, expected {' or '.join(map(str, allowed))}"


def _mistyped(where: str, content: object, expected: Mapping[str, type]) -> Iterator[str]:
    if not isinstance(content, Mapping):
        yield f"{where} is missing"
        return
    for key, kind in expected.items():
        value = content.get(key)
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            yield f"{where}: {key} is missing or no {kind.__name__}"


def _tables(run: Run, claim: Claim) -> Iterator[str]:
    for table in TABLES:
        if not parts(run.path, table):
            yield f"{table}.parquet is missing"
        elif not len(run.table(table)) and _needed(run, claim, table):
            yield f"{table}.parquet is empty"


def _needed(run: Run, claim: Claim, table: str) -> bool:
    if table == "faults":
        return bool(claim.actions)
    return table != "breakers" or bool(run.info.get("breakers"))


def _columns(run: Run, claim: Claim) -> Iterator[str]:
    for table in TABLES:
        lacking = missing_columns(run.path, table)
        yield from (f"{table}.parquet: the column {name} is missing" for name in lacking)
        rows = len(run.table(table))
        if not rows:
            continue
        never, somewhere = NEVER_NULL[table].split(), SOMEWHERE[table].split()
        columns = ", ".join(f"count({name})" for name in (*never, *somewhere))
        counts = run.table(table).aggregate(columns).fetchall()[0]
        for name, count in zip((*never, *somewhere), counts, strict=True):
            if count == 0 or (name in never and count < rows):
                yield f"{table}.parquet: {rows - count:,} of {rows:,} rows have no {name}"


def _counts(run: Run, claim: Claim) -> Iterator[str]:
    """The writers' own counts against the stored rows; `faults` has several writers and merged rows."""
    recorder = run.recorder
    if recorder is None:
        yield "recorder.json is missing"
        return
    load = run.info.get("load")
    for source, counts, tables in (
        ("recorder.json", recorder.get("rows"), ("spans", "logs", "metrics", "breakers")),
        (
            "run.json: load",
            load.get("rows") if isinstance(load, dict) else None,
            ("requests", "history"),
        ),
    ):
        for table in tables:
            counted = counts.get(table) if isinstance(counts, dict) else None
            if (rows := len(run.table(table))) != counted:
                yield f"{source} counts {counted} rows of {table}, the archive has {rows:,}"


def _sequence(run: Run, claim: Claim) -> Iterator[str]:
    """Requests are numbered without a gap and cover the load from its begin to its end."""
    rows, numbers, last = run.sql(
        "SELECT count(*), count(DISTINCT seq), max(seq) FROM requests"
    ).fetchall()[0]
    if rows and not rows == numbers == last + 1:
        yield f"requests.parquet: {rows:,} rows, numbered up to {last}"
    load = run.info.get("load")
    rates = load.get("rate_per_s") if isinstance(load, dict) else None
    first, last_phase = run.phase("warmup"), run.phase("after")
    if not rows or not isinstance(rates, dict) or first is None or last_phase is None:
        return
    per_s, start_s, end_s = sum(map(float, rates.values())), first[0], last_phase[1]
    longest = run.sql(
        "SELECT max(intended_start_s - earlier) FROM (SELECT intended_start_s, lag(intended_start_s, 1, ?)"
        " OVER (ORDER BY intended_start_s) AS earlier FROM (SELECT intended_start_s FROM requests"
        " WHERE intended_start_s BETWEEN ? AND ? UNION ALL SELECT ?))",
        [start_s, start_s, end_s, end_s],
    ).fetchall()[0][0]  # fmt: skip
    if per_s > 0 and longest is not None and longest > GAP_ARRIVALS / per_s:
        yield f"requests.parquet: no request in {longest:.1f} s, at {per_s:g} arrivals a second"


def _journal(run: Run, claim: Claim) -> Iterator[str]:
    journal = run.journal
    if not (run.path / "experiment.yaml").is_file():
        yield "experiment.yaml is missing"
    if journal is None:
        yield "journal.json is missing"
        return
    yield from _mistyped("journal.json", journal, JOURNAL)
    copy = dict(journal.get("experiment") or {})
    copy.pop("dry", None)  # added by the toolkit
    if copy != json.loads(json.dumps(claim.experiment, default=str)):
        yield "journal.json: its experiment differs from experiment.yaml"
    stopped = bool(run.info.get("guard"))
    for key, planned in (("run", claim.activities), ("rollbacks", claim.rollbacks)):
        done = [_name(each) for each in journal.get(key) or [] if isinstance(each, dict)]
        lacking = [name for name in planned if name not in done]
        if lacking and not (stopped and key == "run"):
            yield f"journal.json: the planned activity {lacking[0]!r} is not in {key}"
    states = journal.get("steady_states")
    if not isinstance(states, dict) or not claim.hypothesis:
        states = {}
    for when in ("before", "during", "after"):
        if not states.get(when) and not (stopped and when != "before"):
            yield f"journal.json: the steady state {when} the method is missing"


def _name(entry: Mapping[str, Any]) -> str:
    activity = entry.get("activity")
    return str(activity.get("name")) if isinstance(activity, dict) else ""


def _traces(run: Run, claim: Claim) -> Iterator[str]:
    """Each answered request has spans under its request id. A killed instance loses its last second of spans."""
    answered, traced = run.sql(
        "SELECT count(*), count(*) FILTER (request_id IN (SELECT trace_id FROM spans))"
        " FROM requests WHERE status > 0 AND request_id IS NOT NULL"
    ).fetchall()[0]
    if answered and traced < 0.99 * answered:
        yield f"spans.parquet: {answered - traced:,} of {answered:,} answered requests have no span"


def _scrapes(run: Run, claim: Claim) -> Iterator[str]:
    """Each instance that was scraped has a sample `up`, 0 or 1, for each second of the load."""
    before, after = run.phase("before"), run.phase("after")
    if before is None or after is None:
        return
    late = run.sql(
        "SELECT instance, max(time_s - earlier) AS gap FROM (SELECT instance, time_s,"
        " lag(time_s, 1, ?) OVER (PARTITION BY instance ORDER BY time_s) AS earlier FROM ("
        "SELECT instance, time_s FROM metrics WHERE name = 'up' AND time_s BETWEEN ? AND ?"
        " UNION ALL SELECT DISTINCT instance, ? FROM metrics WHERE name = 'up'))"
        " GROUP BY 1 HAVING gap > 5 ORDER BY 1",
        [before[0], before[0], after[1], after[1]],
    ).fetchall()
    yield from (f"metrics.parquet: no sample of {name} in {gap:.0f} s" for name, gap in late)
