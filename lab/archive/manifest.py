"""The manifest of a finished run: a digest of each file of evidence, and the rows of each table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lab.archive.tables import TABLES, connect, parts, read_table
from lab.files import write_json

MANIFEST = "manifest.json"
# Evidence of a run. Everything else in its directory is derived from it, or is a log for people.
NAMES = (
    "run.json",
    "recorder.json",
    "load.json",
    "journal.json",
    "chaos.ndjson",
    "experiment.yaml",
)


def write_manifest(run_dir: Path) -> None:
    """Write manifest.json for a sealed run. Raises OSError, duckdb.Error."""
    with connect(threads=2) as connection:
        rows = {table: len(read_table(connection, run_dir, table)) for table in TABLES}
    files = {name: _entry(run_dir / name) for name in sorted(_evidence(run_dir))}
    write_json(run_dir / MANIFEST, {"files": files, "rows": rows})


def contradictions(run_dir: Path) -> list[str]:
    """Every file that is not as the manifest says: missing, changed or not listed.

    Without a readable manifest the only contradiction is that.
    """
    try:
        files = json.loads((run_dir / MANIFEST).read_bytes())["files"]
        expected = {str(name): entry["sha256"] for name, entry in files.items()}
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST} is damaged"]
    present = _evidence(run_dir)
    found = [f"{name} is missing" for name in sorted(expected.keys() - present)]
    found += [f"{name} is not in the manifest" for name in sorted(present - expected.keys())]
    for name in sorted(present & expected.keys()):
        if _entry(run_dir / name)["sha256"] != expected[name]:
            found.append(f"{name} was changed after the run")
    return found


def audit_record(run_dir: Path) -> dict[str, dict[str, Any]]:
    """run.json's `audit`: by audit table its rows, and the digest of its file. Raises duckdb.Error."""
    files = sorted((run_dir / "state").glob("*.parquet"))
    with connect(threads=1) as connection:
        return {
            file.stem: {
                "rows": len(connection.read_parquet(str(file))),
                "sha256": _entry(file)["sha256"],
            }
            for file in files
        }


def _evidence(run_dir: Path) -> set[str]:
    tables = [part.name for table in TABLES for part in parts(run_dir, table)]
    states = [f"state/{file.name}" for file in (run_dir / "state").glob("*.parquet")]
    return {*(name for name in NAMES if (run_dir / name).is_file()), *tables, *states}


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"sha256": digest, "bytes": file.stat().st_size}
