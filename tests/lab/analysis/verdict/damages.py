"""Every kind of damage to an archive: each file, column, range of rows and key is removed in turn.

`python -m tests.lab.analysis.verdict.damages` does all of them, as they are and with rewritten counts.
"""

# ruff: noqa: S608 - the queries name the columns of TABLES

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from lab.analysis.verdict.claim import claim_of
from lab.analysis.verdict.evidence import gaps
from lab.analysis.verdict.verdict import judge
from lab.archive import ArchiveError, Run, seal
from lab.archive.manifest import MANIFEST, write_manifest
from lab.archive.tables import TABLES
from tests.lab.analysis.archives import write_archive

WORKERS = 2
Damage = Callable[[Path], object]
RANGES = ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0), (0.5, 0.51), (0.0, 1.0))
COUNTS = (("recorder.json", "rows"), ("run.json", "load", "rows"), ("run.json", "audit"))
# Keys at these places of a JSON file, each removed in turn; "" is the file itself.
KEYS = {
    "run.json": ("", "load", "load.profile", "load.rows", "exit_codes", "quiescence", "audit"),
    "journal.json": ("", "steady_states", "steady_states.before", "run.0", "rollbacks.0"),
    "recorder.json": ("", "rows", "shed"),
    "load.json": ("",),
}


def copied(whole: Path, path: Path) -> Path:
    """A copy with hard links: `replace` breaks the link of the file that it changes."""
    return Path(shutil.copytree(whole, path, copy_function=os.link))


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def remove(path: Path, name: str) -> None:
    (path / name).unlink()


def cut(path: Path, name: str, content: bytes) -> None:
    replace(path / name, content)


def rewrite(path: Path, file: str, query: str) -> None:
    """Replace a Parquet file by the result of a query over `rows`."""
    whole, new = path / file, path / f"{file}.new"
    with duckdb.connect() as connection:
        connection.read_parquet(str(whole)).create_view("rows")
        connection.sql(query).write_parquet(str(new))
    new.replace(whole)


def remove_key(path: Path, name: str, place: Sequence[str], key: str) -> None:
    content: Any = json.loads((path / name).read_text())
    part = content
    for step in place:
        part = part[int(step) if isinstance(part, list) else step]
    del part[key]
    replace(path / name, json.dumps(content).encode())


def damages(whole: Path) -> Iterator[tuple[str, Damage]]:
    """(name, damage) of every kind."""
    yield from _of_files(whole)
    yield from _of_rows(whole)
    yield from _of_keys(whole)


def _of_files(whole: Path) -> Iterator[tuple[str, Damage]]:
    for file in sorted(each for each in whole.rglob("*") if each.is_file()):
        name, content = str(file.relative_to(whole)), file.read_bytes()
        yield f"{name} removed", partial(remove, name=name)
        for what, less in (("emptied", b""), ("cut in half", content[: len(content) // 2])):
            yield f"{name} {what}", partial(cut, name=name, content=less)


def _of_rows(whole: Path) -> Iterator[tuple[str, Damage]]:
    for file in sorted(whole.rglob("*.parquet")):
        name = str(file.relative_to(whole))
        with duckdb.connect() as connection:
            table = connection.read_parquet(str(file))
            columns, rows = table.columns, len(table)
        for column in columns:
            yield (
                f"{name} without {column}",
                partial(rewrite, file=name, query=f'SELECT * EXCLUDE ("{column}") FROM rows'),
            )
        share = "(row_number() OVER () - 1) / (SELECT count(*) FROM rows)::DOUBLE"
        numbered = f"(SELECT *, {share} AS place FROM rows)"
        for begin, end in RANGES:
            if not any(begin <= n / rows < end for n in range(rows)):
                continue  # it has no row there
            kept = (
                f"SELECT * EXCLUDE (place) FROM {numbered} WHERE place < {begin} OR place >= {end}"
            )
            yield (
                f"{name} without rows {begin:.0%} to {end:.0%}",
                partial(rewrite, file=name, query=kept),
            )


def _of_keys(whole: Path) -> Iterator[tuple[str, Damage]]:
    for name, places in KEYS.items():
        for place in (each.split(".") if each else [] for each in places):
            part: Any = json.loads((whole / name).read_text())
            for step in place:
                part = part[int(step) if isinstance(part, list) else step]
            for key in part:
                yield (
                    f"{name} without {'.'.join((*place, key))}",
                    partial(remove_key, name=name, place=place, key=key),
                )


def fit(path: Path) -> None:
    """Rewrite the counts that are there and the manifest, so that they agree with what is left."""
    with suppress(ArchiveError, duckdb.Error, OSError, ValueError, AttributeError, TypeError):
        run = Run(path)
        for name, *place in COUNTS:
            content: Any = json.loads((path / name).read_text())
            counts = content
            for step in place:
                counts = counts.get(step, {})
            for table in counts:
                if table in run.states:
                    counts[table]["rows"] = len(run.state(table))
                elif table in TABLES and table != "faults":
                    counts[table] = len(run.table(table))
            replace(path / name, json.dumps(content).encode())
    with suppress(ArchiveError, duckdb.Error, OSError):
        write_manifest(path)


def is_held(path: Path) -> bool:
    try:
        run = Run(path)
        return not gaps(run, claim_of(run)) and judge(run)["verdict"] == "held"
    except ArchiveError:
        return False


def held_after(
    whole: Path, folder: Path, fitted: bool, every: int = 1, first: int = 0
) -> tuple[int, list[str]]:
    """How many kinds of damage were done, each `every`-th from `first` on, and those still held."""
    done, held = 0, []
    for number, (name, damage) in enumerate(damages(whole)):
        if number % every != first or (fitted and name.startswith(MANIFEST)):
            continue
        path = copied(whole, folder / f"damaged-{fitted}-{first}")
        damage(path)
        if fitted:
            fit(path)
        done += 1
        if is_held(path):
            held.append(name)
        shutil.rmtree(path)
    return done, held


def sealed_archive(path: Path) -> Path:
    """The simulated run, sealed as a real one."""
    write_archive(path)
    seal(path)
    write_manifest(path)
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(WORKERS) as pool:
        whole = sealed_archive(Path(folder) / "whole")
        assert is_held(whole)
        for fitted in (False, True):
            shares = [
                pool.submit(held_after, whole, Path(folder), fitted, WORKERS, first)
                for first in range(WORKERS)
            ]
            done = sum(share.result()[0] for share in shares)
            held = [name for share in shares for name in share.result()[1]]
            print(
                f"{'fitted' if fitted else 'plain'}: {done} kinds of damage, {len(held)} held",
                *held,
                sep="\n  ",
            )
            if held:
                sys.exit(1)


if __name__ == "__main__":
    main()
