"""Reads the archive of one run: its tables as lazy DuckDB relations, and its JSON files."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from lab.archive.errors import ArchiveError
from lab.archive.frames import frame_of
from lab.archive.tables import ARCHIVE_VERSION, TABLES, connect, parts, read_table, table_of

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """The archive at `path`, sealed (Parquet) or raw (NDJSON).

    `run.requests`, `.spans`, `.logs`, `.metrics`, `.breakers`, `.faults`, `.history`, `.machine` and
    `.state("orders.orders")` are lazy DuckDB relations: rows are read when a query needs them.
    `run.sql(...)` queries them by those names. `run.frame("requests")` is a pandas frame.
    Use a run from one thread at a time. It holds no file open between queries.
    Raises ArchiveError if the directory is missing, damaged or not an archive.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _check(self.path)
        self.info: dict[str, Any] = _read_json(self.path / "run.json") or {}
        version = self.info.get("archive_version", ARCHIVE_VERSION)
        if version not in range(1, ARCHIVE_VERSION + 1):
            raise ArchiveError(
                f"{self.path} is an archive of version {version}, this Breakwater reads up to"
                f" version {ARCHIVE_VERSION}: use the Breakwater that wrote it"
            )
        self._connection = connect(threads=2)
        for table in TABLES:
            self.table(table).create_view(table)

    @classmethod
    def from_prometheus(
        cls,
        url: str,
        start: float | datetime,
        end: float | datetime,
        *,
        into: Path | str | None = None,
        matching: str | None = None,
    ) -> Run:
        """The raw samples of a Prometheus in a window, as a run with a metrics table.

        `start`, `end`: seconds since the epoch, or datetimes with a time zone. `matching`: a
        PromQL selector; the default matches everything scraped from the shop. `into`: the
        directory to write to, which may be an archive without metrics; without it the files are
        deleted together with the run object.
        Raises ArchiveError: no Prometheus at the address, a bad selector, an empty window, a native histogram.
        """
        from lab.archive import fetched, prometheus

        span_s = fetched.window(start, end)
        address = fetched.base_url(url)
        lines = prometheus.metrics_lines(address, *span_s, matching or prometheus.SCRAPED)
        return cls._fetched("metrics", lines, address, span_s, into)

    @classmethod
    def from_jaeger(
        cls,
        url: str,
        start: float | datetime,
        end: float | datetime,
        *,
        into: Path | str | None = None,
        services: Sequence[str] | None = None,
    ) -> Run:
        """The traces of a Jaeger (2 or newer) in a window, as a run with a spans table.

        `services`: only traces with these services; the default is all. For the rest see
        `from_prometheus`.
        """
        from lab.archive import fetched, jaeger

        span_s = fetched.window(start, end)
        address = fetched.base_url(url)
        lines = jaeger.span_lines(address, *span_s, services)
        return cls._fetched("spans", lines, address, span_s, into)

    @classmethod
    def _fetched(
        cls,
        table: str,
        lines: Iterator[bytes],
        source: str,
        span_s: tuple[float, float],
        into: Path | str | None,
    ) -> Run:
        from lab.archive import fetched

        run_dir = fetched.write_run(table, lines, source, span_s, Path(into) if into else None)
        run = cls(run_dir)
        if into is None:
            weakref.finalize(run, shutil.rmtree, run_dir, True)
        return run

    @property
    def name(self) -> str:
        """The name of the run's directory, which is the run's id."""
        return self.path.resolve().name

    @property
    def is_load(self) -> bool:
        """Whether the run was load alone, without an experiment."""
        return "experiment" in self.info and not self.info["experiment"] and self.journal is None

    @property
    def is_closed_loop(self) -> bool:
        """Whether its shoppers came from Locust's page: they wait for each answer and follow no schedule."""
        load = self.info.get("load")
        return self.is_load and isinstance(load, dict) and load.get("closed_loop") is True

    @property
    def verdict(self) -> dict[str, Any] | None:
        """verdict.json; None until the run is judged."""
        return _read_json(self.path / "verdict.json")

    @property
    def journal(self) -> dict[str, Any] | None:
        """Chaos Toolkit's journal; None if the run had no experiment."""
        return _read_json(self.path / "journal.json")

    @property
    def recorder(self) -> dict[str, Any] | None:
        """The recorder's counts (rows, shed, scrape_failures); None if the recorder did not finish."""
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
    def machine(self) -> duckdb.DuckDBPyRelation:
        return self.table("machine")

    @property
    def states(self) -> list[str]:
        """Names of the audit tables in the archive, e.g. `orders.orders`."""
        return sorted(file.stem for file in (self.path / "state").glob("*.parquet"))

    def state(self, name: str) -> duckdb.DuckDBPyRelation:
        """The audit table `<service>.<query>`. Raises ArchiveError if the archive does not have it."""
        file = self.path / "state" / f"{name}.parquet"
        if not file.is_file():
            have = ", ".join(self.states) or "none"
            raise ArchiveError(f"{self.path} has no audit table {name} (it has: {have})")
        return self._parquet(file)

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        """A table of docs/archive.md by name. Without recorded rows it is empty but has its columns."""
        if name not in TABLES:
            raise ArchiveError(f"there is no table {name!r}: the tables are {', '.join(TABLES)}")
        try:
            return read_table(self._connection, self.path, name)
        except duckdb.Error as error:
            raise ArchiveError(
                f"{self.path} is damaged: {name} cannot be read ({_first_line(error)});"
                " run the experiment again or restore the file"
            ) from None

    def sql(
        self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> duckdb.DuckDBPyRelation:
        """A query over the tables. `parameters`: a sequence for `?`, a mapping for `$name`."""
        named = isinstance(parameters, Mapping)
        return self._connection.sql(query, params=parameters if named else list(parameters))

    def execute(self, statement: str) -> None:
        """Execute a statement in the run's private database in memory, e.g. CREATE VIEW."""
        self._connection.execute(statement)

    def with_state(self, *names: str) -> Run:
        """Make audit tables visible to `sql`, e.g. as `orders_orders`. Returns the run."""
        for name in names:
            self.state(name).create_view(name.replace(".", "_"), replace=True)
        return self

    def frame(self, name: str) -> pd.DataFrame:
        """A table, or an audit table by its dotted name, as a pandas frame.

        Integer and boolean columns with nulls keep their type (Int64, Int32, boolean).
        """
        return frame_of(self.state(name) if "." in name else self.table(name))

    def phase(self, name: str) -> tuple[float, float] | None:
        """(start, end) of a phase in epoch seconds; None if the run had no such phase."""
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


def is_archive(path: Path) -> bool:
    """Whether the directory contains run.json or at least one table."""
    return (path / "run.json").is_file() or any(parts(path, table) for table in TABLES)


def _check(path: Path) -> None:
    if not path.exists():
        raise ArchiveError(f"there is no run {path}: `lab runs` lists all runs")
    if not path.is_dir():
        raise ArchiveError(f"{path} is a file: use the run's directory")
    if not is_archive(path):
        raise ArchiveError(
            f"{path} is not a run archive (it contains neither run.json nor a table):"
            " `lab runs` lists all runs"
        )
    for raw in path.glob("*.ndjson"):
        if table_of(raw) in TABLES and not _starts_with_json(raw):
            raise ArchiveError(
                f"{raw} is damaged (its first line is not a JSON object):"
                " run the experiment again or remove that file"
            )


def _starts_with_json(raw: Path) -> bool:
    with raw.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    if not first.endswith(b"\n"):
        return first[:1] in (b"", b"{")  # the file is empty, or its only line is incomplete
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
        raise ArchiveError(f"{path} is damaged: it does not contain a JSON object")
    return content


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
