"""Times the judging of a large run: copies a recorded run until it has a million requests, and judges it.

    python bench/judging.py [RUN] [--requests 1000000] [--profile] [--json]

RUN is an archive (default: the newest run). Its requests, spans, logs, history and audit tables are repeated, each
copy with its own ids, users, products and stock, and up to a second later, so that the windows stay as they are.
Metrics, breakers and the machine depend on time and not on requests, and stay. `--profile` prints slow functions.
Exit 0 if judging takes at most 20 s, else 1.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import pstats
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "system")]

from lab.analysis.verdict.verdict import judge  # noqa: E402
from lab.archive import Run, find_run  # noqa: E402
from lab.archive.manifest import write_manifest  # noqa: E402

MOST_S = 20.0
REPEATED = ("requests", "spans", "logs", "history")
# What identifies a row, also within a text: UUIDs, logical requests, traces, products, users.
IDS = "|".join(
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"\b[0-9a-f]{12}-\d{6}\b",
        r"\b[0-9a-f]{32}\b",
        r"SKU-\d{4}|\buser\d{3}\b",
    )
)


def enlarge(source: Path, target: Path, requests: int) -> int:
    """Write a copy of the archive with at least this many requests, and return their number."""
    shutil.copytree(source, target)
    with duckdb.connect() as db:
        db.execute("SET preserve_insertion_order = false")
        have = db.read_parquet(str(target / "requests.parquet")).count("*").fetchall()[0][0]
        copies = math.ceil(requests / have)
        rows: dict[str, int] = {}
        for file in [target / f"{name}.parquet" for name in REPEATED] + sorted(
            (target / "state").glob("*.parquet")
        ):
            rows[file.stem] = repeat(db, file, copies)
    for name in ("recorder.json", "run.json", "load.json"):
        content = json.loads((target / name).read_text())
        counts = content.get("load", content)
        known = counts.get("rows", {})
        known |= {table: rows[table] for table in known if table in rows}
        for key in ("planned", "sent", "attempts"):
            if key in counts:
                counts[key] *= copies
        (target / name).write_text(json.dumps(content))
    write_manifest(target)
    return rows["requests"]


def repeat(db: duckdb.DuckDBPyConnection, file: Path, copies: int) -> int:
    """Repeat the rows of a file with new ids and times, and return their number."""
    table = db.read_parquet(str(file))
    columns = ", ".join(
        _copied(name, str(kind)) for name, kind in zip(table.columns, table.types, strict=True)
    )
    larger = file.with_suffix(".larger")
    most = "(SELECT max(seq) + 1 FROM t)" if "seq" in table.columns else "0"
    db.execute(
        f"COPY (WITH t AS (SELECT * FROM read_parquet('{file}')),"  # noqa: S608
        f" k AS (SELECT range AS c, {most} AS most FROM range({copies}))"
        f" SELECT {columns} FROM t, k) TO '{larger}' (FORMAT parquet, COMPRESSION zstd)"
    )
    larger.replace(file)
    found: int = db.read_parquet(str(file)).count("*").fetchall()[0][0]
    return found


def _copied(name: str, kind: str) -> str:
    """The SQL of a column in copy `c`: ids get its number, times are up to a second later."""
    later = "c / (SELECT max(c) + 1.0 FROM k)"
    if name in ("span_id", "parent_span_id"):  # 16 digits, as those of a card
        return f'CASE WHEN c = 0 OR "{name}" = \'\' THEN "{name}" ELSE "{name}" || \'-\' || c END AS "{name}"'
    if kind == "VARCHAR" and name not in ("service", "instance", "route", "method", "kind"):
        return (
            f'CASE WHEN c = 0 THEN "{name}" ELSE'
            f" regexp_replace(\"{name}\", '({IDS})', '\\1-' || c, 'g') END AS \"{name}\""
        )
    if name == "seq":
        return '"seq" + c * most AS "seq"'
    if kind == "BIGINT" and name.endswith("_ns"):
        return f'("{name}" + (1e9 * {later})::BIGINT) AS "{name}"'
    if kind == "DOUBLE" and name.endswith("_s"):
        return f'"{name}" + {later} AS "{name}"'
    if kind.startswith("TIMESTAMP"):
        return f'"{name}" + to_milliseconds((1000 * {later})::BIGINT) AS "{name}"'
    return f'"{name}"'


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="judging-") as folder:
        path = Path(folder) / "run"
        requests = enlarge(find_run(given.run), path, given.requests)
        rows = len(Run(path).table("spans"))
        profile = cProfile.Profile()
        began = time.monotonic()
        verdict = profile.runcall(judge, Run(path)) if given.profile else judge(Run(path))
        seconds = round(time.monotonic() - began, 1)
    figures = {
        "requests": requests,
        "spans": rows,
        "seconds": seconds,
        "verdict": verdict["verdict"],
    }
    print(json.dumps(figures | {"reasons": verdict["reasons"]}) if given.json else figures)
    for reason in [] if given.json else verdict["reasons"][:8]:
        print(f"    {reason[:200]}")
    if given.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    return int(seconds > MOST_S)


if __name__ == "__main__":
    sys.exit(main())
