"""One run's archive, opened for reading: its tables as lazy DuckDB relations, its JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from lab.archive.tables import ARCHIVE_VERSION, TABLES, connect, parts, read_table, table_of
from lab.state import labs_folder

if TYPE_CHECKING:
    import pandas as pd


class ArchiveError(Exception):
    """The archive cannot be read; the text says what is wrong and what to do."""

    exit_code = 2


class Run:
    """An archive at `path`, sealed (Parquet) or still raw (NDJSON) alike.

    `run.requests`, `.spans`, `.logs`, `.metrics`, `.breakers`, `.faults`, `.history` and
    `.state("orders.orders")` are DuckDB relations: nothing is read before it is asked for.
    `run.sql(...)` queries them by those names. `run.frame("requests")` is a pandas frame.
    A run may be used by one thread at a time; it holds no file open between queries.
    Raises ArchiveError for a directory that is missing, no archive, or damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _check(self.path)
        self.info: dict[str, Any] = _read_json(self.path / "run.json") or {}
        version = self.info.get("archive_version", ARCHIVE_VERSION)
        if version not in range(1, ARCHIVE_VERSION + 1):
            raise ArchiveError(
                f"{self.path} is an archive of version {version}, this Breakwater reads up to"
                f" version {ARCHIVE_VERSION}: use the Breakwater that made it"
            )
        self._connection = connect(threads=2)
        for table in TABLES:
            self.table(table).create_view(table)

    @property
    def name(self) -> str:
        """The run's directory name, its id."""
        return self.path.resolve().name

    @property
    def verdict(self) -> dict[str, Any] | None:
        """verdict.json, None while the run is not judged."""
        return _read_json(self.path / "verdict.json")

    @property
    def journal(self) -> dict[str, Any] | None:
        """Chaos Toolkit's journal, None if the run had no experiment."""
        return _read_json(self.path / "journal.json")

    @property
    def recorder(self) -> dict[str, Any] | None:
        """What the recorder counted (rows, shed, scrape_failures), None if it did not finish."""
        return _read_json(self.path / "recorder.json")

    @property
    def requests(self) -> duckdb.DuckDBPyRelation:
        return self.table("requests")

    @property
    def spans(self) -> duckdb.DuckDBPyRelation:
        return self.table("spans")

    @property
    def logs(self) -> duckdb.DuckDBPyRelation:
        return self.table("logs")

    @property
    def metrics(self) -> duckdb.DuckDBPyRelation:
        return self.table("metrics")

    @property
    def breakers(self) -> duckdb.DuckDBPyRelation:
        return self.table("breakers")

    @property
    def faults(self) -> duckdb.DuckDBPyRelation:
        return self.table("faults")

    @property
    def history(self) -> duckdb.DuckDBPyRelation:
        return self.table("history")

    @property
    def states(self) -> list[str]:
        """Names of the audit tables that were taken, e.g. `orders.orders`."""
        return sorted(file.stem for file in (self.path / "state").glob("*.parquet"))

    def state(self, name: str) -> duckdb.DuckDBPyRelation:
        """The audit table `<service>.<query>`. Raises ArchiveError if it was not taken."""
        file = self.path / "state" / f"{name}.parquet"
        if not file.is_file():
            have = ", ".join(self.states) or "none"
            raise ArchiveError(f"{self.path} has no audit table {name} (it has: {have})")
        return self._parquet(file)

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """A table of docs/archive.md by its name; empty, but typed, if nothing was recorded."""
        if name not in TABLES:
            raise ArchiveError(f"there is no table {name!r}: the tables are {', '.join(TABLES)}")
        try:
            return read_table(self._connection, self.path, name)
        except duckdb.Error as error:
            raise ArchiveError(
                f"{self.path} is damaged: {name} cannot be read ({_first_line(error)});"
                " run the experiment again or restore the file"
            ) from None

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyRelation:
        """A query over the tables by name, with `?` parameters."""
        return self._connection.sql(query, params=list(parameters))

    def execute(self, statement: str) -> None:
        """A statement that makes something in the run's private memory, e.g. a view."""
        self._connection.execute(statement)

    def with_state(self, *names: str) -> Run:
        """Make audit tables visible to `sql` as e.g. `orders_orders`; returns itself."""
        for name in names:
            self.state(name).create_view(name.replace(".", "_"), replace=True)
        return self

    def frame(self, name: str) -> pd.DataFrame:
        """A table, or an audit table by its dotted name, as a pandas frame."""
        relation = self.state(name) if "." in name else self.table(name)
        frame: pd.DataFrame = relation.df()
        return frame

    def phase(self, name: str) -> tuple[float, float] | None:
        """(start, end) in epoch seconds of a phase of the run, None if it had none."""
        for phase in self.info.get("phases", []):
            if phase["name"] == name:
                start_s, end_s = phase["start_s"], phase["end_s"] or self.info.get("ended_s")
                return float(start_s), float(start_s if end_s is None else end_s)
        return None

    def _parquet(self, file: Path) -> duckdb.DuckDBPyRelation:
        try:
            return self._connection.read_parquet(str(file))
        except duckdb.Error as error:
            raise ArchiveError(
                f"{file} is damaged ({_first_line(error)}): run the experiment again or restore it"
            ) from None


def runs_folder() -> Path:
    """Where runs are kept: `runs` in the labs' folder, `.lab` of the checkout or `LAB_DIR`."""
    return labs_folder() / "runs"


def list_runs(root: Path | str | None = None) -> list[Path]:
    """The archives below `root`, oldest first (a run's name starts with its UTC time)."""
    root = runs_folder() if root is None else Path(root)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and _is_archive(path))


def find_run(name: str | None = None) -> Path:
    """A run's directory by its path, its name or the start of it; None: the newest.

    Raises ArchiveError when none fits, or several do.
    """
    if name is None:
        return latest_run()
    path = Path(name)
    if path.exists():
        return path
    fitting = [each for each in list_runs() if each.name.startswith(name) or name in each.name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(each.name for each in fitting[-5:])
        raise ArchiveError(f"{len(fitting)} runs are called like {name!r}: say more ({names})")
    raise ArchiveError(f"there is no run {name!r}: `lab runs` lists those there are")


def latest_run(root: Path | str | None = None) -> Path:
    """The newest archive below `root`. Raises ArchiveError if there is none."""
    runs = list_runs(root)
    if not runs:
        raise ArchiveError(
            f"no run below {root or runs_folder()}: make one with `lab run payments_slow`"
        )
    return runs[-1]


def _is_archive(path: Path) -> bool:
    return (path / "run.json").is_file() or any(parts(path, table) for table in TABLES)


def _check(path: Path) -> None:
    if not path.exists():
        raise ArchiveError(f"there is no run {path}: `lab runs` lists those there are")
    if not path.is_dir():
        raise ArchiveError(f"{path} is a file: give the run's directory")
    if not _is_archive(path):
        raise ArchiveError(
            f"{path} is no run archive (neither run.json nor a table is in it):"
            " `lab runs` lists those there are"
        )
    for raw in path.glob("*.ndjson"):
        if table_of(raw) in TABLES and not _starts_with_json(raw):
            raise ArchiveError(
                f"{raw} is damaged (its first line is no JSON object):"
                " run the experiment again or remove that file"
            )


def _starts_with_json(raw: Path) -> bool:
    with raw.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    if not first.endswith(b"\n"):
        return first[:1] in (b"", b"{")  # nothing yet, or the one line was cut off
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ArchiveError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise ArchiveError(f"{path} is damaged: it holds no JSON object")
    return content


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
