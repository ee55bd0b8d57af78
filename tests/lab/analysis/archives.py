"""Writes synthetic archives: a clean run, and mutants with exactly one planted bug each.

`python -m tests.lab.analysis.archives DIR [MUTANT]` writes one archive.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import yaml

from lab.archive import ARCHIVE_VERSION, Run
from lab.archive.manifest import audit_record, write_manifest
from tests.lab.analysis.bookkeeping import (
    journal_of,
    load_json,
    load_of,
    numbered,
    recorder_json,
    steps_of,
)
from tests.lab.analysis.machine_rows import machine_rows, stated
from tests.lab.analysis.planted import PLANTED
from tests.lab.analysis.simulated_databases import Row
from tests.lab.analysis.simulation import FAULT, LOAD_END_S, PHASES, PROFILE, START_S, Shop

LATENCY_FAULT = {
    **{"fault_id": "f-1", "kind": "latency", "target": "bank-1", "point": "inbound"},
    **{"scope": {"caller": "payments"}, "attributes": {"latency_ms": 2000}, "ttl_s": 15.0},
}
EXPERIMENT: dict[str, Any] = {
    "title": "The bank answers two seconds late",
    "description": "For 15 s every answer of the bank to payments comes 2 s late.",
    "steady-state-hypothesis": {"title": "Shoppers can browse and order", "probes": []},
    "method": [{"type": "action", "name": "make the bank slow"}],
    "rollbacks": [{"type": "action", "name": "remove every fault"}],
    "extensions": [
        {
            "name": "breakwater",
            "claim": "While the bank is slow, shoppers browse as always, every order gets an answer"
            " within 3 s, and every order is right in the end.",
            "load": "steady",
            "slis": [
                {
                    **{"name": "browsing stays fast", "route": "GET /api/products/{id}"},
                    **{"window": "during", "measure": "p95_ms", "limit": 100},
                },
                {
                    **{"name": "most orders are answered", "route": "POST /api/orders"},
                    **{"window": "during", "measure": "p75_ms", "limit": 3000},
                },
                {
                    **{"name": "no order fails", "route": "POST /api/orders"},
                    **{"window": "during", "measure": "error_ratio", "limit": 0.05},
                },
                {
                    **{"name": "all is as before", "route": "POST /api/orders"},
                    **{"window": "after", "measure": "p95_ms", "limit": 200},
                },
            ],
            "expects": {"breaker": {"edge": "payments->bank", "opens_within_s": 5.0}},
        }
    ],
}
MACHINE = machine_rows(START_S, 66)
END_S = START_S + 66.0


@cache
def simulated(seed: int) -> Shop:
    """The simulation of one seed, made once per test session; read-only."""
    return Shop(seed).run()


def write_archive(path: Path, mutant: str = "", seed: int = 1) -> Path:
    """Write a raw (unsealed) archive with this planted bug, or a clean one."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "state").mkdir()
    for name, content in _clean_files(seed).items():
        (path / name).write_bytes(content)
    if mutant:
        clean = simulated(seed).state
        state = pickle.loads(pickle.dumps(clean))
        PLANTED[mutant].plant(state)
        for name, rows in state.items():
            if rows != clean[name]:
                (path / "state" / f"{name}.parquet").write_bytes(_parquet(rows))
    edit(path, "run.json", audit=audit_record(path))
    return path


def write_load(path: Path, limits: Sequence[Row] = (), **load: Any) -> Path:
    """The same shop under load alone: a whole archive without an experiment; the bank was slow all the same."""
    write_archive(path)
    for name in ("experiment.yaml", "journal.json", "chaos.ndjson"):
        (path / name).unlink()
    (path / "faults.ndjson").write_text("")
    phases = [
        {"name": name, "start_s": START_S + begin, "end_s": START_S + end}
        for name, begin, end in (("load", 0.0, LOAD_END_S), ("drain", *PHASES["drain"]))
    ]
    load = json.loads((path / "run.json").read_text())["load"] | load
    changes = {"experiment": None, "phases": phases, "exit_codes": {"load": 0}, "load": load}
    return edit(path, "run.json", limits=list(limits), **changes)


@cache
def _clean_files(seed: int) -> dict[str, bytes]:
    """The files of the clean archive by name; cached, because the tests write it often."""
    shop = simulated(seed)
    faults = [
        LATENCY_FAULT | {"commanded_s": START_S + 20.0},
        {"fault_id": "f-1", "effective_s": START_S + FAULT[0], "hits": 1},
        {"fault_id": "f-1", "removed_s": START_S + FAULT[1], "hits": 40},
    ]
    tables = numbered(shop.tables, END_S)
    journal = journal_of(EXPERIMENT, START_S + PHASES["before"][1], START_S + PHASES["after"][0])
    info = run_info(shop, seed)
    files = {
        f"{name}.ndjson": "".join(json.dumps(row) + "\n" for row in rows).encode()
        for name, rows in (*tables.items(), ("faults", faults), ("machine", MACHINE))
    }
    files |= {f"state/{name}.parquet": _parquet(rows) for name, rows in shop.state.items()}
    for name, content in (
        ("run.json", info),
        ("load.json", load_json(info["load"], info["profile"], seed)),
        ("recorder.json", recorder_json(tables | {"faults": faults}, START_S - 1.0, END_S)),
        ("journal.json", journal),
    ):
        files[name] = json.dumps(content, indent=2).encode()
    files["chaos.ndjson"] = steps_of(journal, START_S)
    return files | {"experiment.yaml": yaml.safe_dump(EXPERIMENT, sort_keys=False).encode()}


def refit(path: Path) -> Path:
    """Rewrite the counts and the manifest of a changed archive so that they agree with what is there."""
    run = Run(path)
    for name, tables in (
        ("recorder.json", ("spans", "logs", "metrics", "breakers")),
        ("run.json", ("requests", "history")),
    ):
        if (path / name).is_file():
            content = json.loads((path / name).read_text())
            counts = {table: len(run.table(table)) for table in tables}
            content.get("load", content).setdefault("rows", {}).update(counts)
            (path / name).write_text(json.dumps(content))
    write_manifest(path)
    return path


def edit(path: Path, name: str, **changes: Any) -> Path:
    """Change the top-level keys of a JSON file of the archive, and rewrite the manifest.

    After a change of the journal, chaos.ndjson has the steps of that journal.
    """
    file = path / name
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(content))
    if name == "journal.json":
        (path / "chaos.ndjson").write_bytes(steps_of(content, START_S))
    write_manifest(path)
    return path


def edit_experiment(path: Path, changes: Row | None = None, **block: Any) -> Path:
    """Change the experiment and its breakwater block, in its file and in the journal's copy."""
    file = path / "experiment.yaml"
    experiment = yaml.safe_load(file.read_text()) | (changes or {})
    experiment["extensions"][0] |= block
    file.write_text(yaml.safe_dump(experiment))
    return edit(path, "journal.json", experiment=experiment)


def run_info(shop: Shop, seed: int) -> Row:
    phases = [
        {"name": name, "start_s": START_S + start, "end_s": START_S + end}
        for name, (start, end) in PHASES.items()
    ]
    tables = shop.tables
    return {
        **{"archive_version": ARCHIVE_VERSION, "run_id": f"simulated-{seed}"},
        **{"experiment": "payments_slow", "runtime": "processes", "topology_hash": "simulated"},
        **{"seed": seed, "started_s": START_S, "ended_s": END_S, "phases": phases},
        **{"profile": PROFILE.name, "interrupted": False, "arms": ["control"], "blocks": []},
        **{"port_base": 8080, "observers": {}, "resilience": {}, "problems": []},
        "load": load_of(shop.schedule, tables["requests"], tables["history"], START_S),
        "residue": [],
        "exit_codes": {"chaos": 0, "load": 0},
        "config": {"resilience": "full", "outbox": "on", "idempotency": "on", "stock_guard": "on"},
        "versions": {"python": "3.13", "breakwater": "0.1.0"},
        "host": {"os": "simulated", "cpus": 2, "memory_bytes": 8 * 2**30},
        "machine": stated(MACHINE),
        "quiescence": {"reached": True, "waited_s": 2.5, "left": {}},
        "breakers": {
            "payments->bank": {
                **{"window_size": 20, "minimum_calls": 10, "failure_rate_threshold": 0.5},
                **{"wait_open_s": 3.0, "permitted_half_open": 3},
            }
        },
    }


def _parquet(rows: list[Row]) -> bytes:
    """An audit table in the lab's format, with timestamps."""
    frame = pd.DataFrame(rows)
    times = [name for name in frame.columns if name == "at" or name.endswith("_at")]
    casts = ", ".join(f'to_timestamp("{name}") AS "{name}"' for name in times)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "table.parquet"
        relation = connection.from_df(frame)
        relation.project(f"* REPLACE ({casts})" if times else "*").write_parquet(str(file))
        return file.read_bytes()


if __name__ == "__main__":
    write_archive(Path(sys.argv[1]), "".join(sys.argv[2:3]))
