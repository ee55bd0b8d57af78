"""Reading and sealing a run's directory, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from lab.archive import ArchiveError, Run, find_run, latest_run, list_runs, seal
from lab.archive.seal import seal_part
from lab.archive.tables import TABLES, parts
from tests.lab.archive.parquet import write_parquet


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text('{"archive_version": 1, "run_id": "r"}')
    requests = [
        {"seq": 1, "route": "GET /api/products", "status": 200, "end_s": 1.5, "dropped": False},
        {"seq": 2, "route": "POST /api/orders", "status": "503", "surprise": True},
    ]
    (tmp_path / "requests.ndjson").write_text("".join(json.dumps(r) + "\n" for r in requests))
    parts = [
        {"fault_id": "f", "kind": "latency", "target": "bank-1", "commanded_s": 1.0},
        {"fault_id": "f", "effective_s": 1.2, "attributes": {"delay_ms": 2000}},
        {"fault_id": "f", "removed_s": 9.0, "hits": 4},
        {"fault_id": "f", "hits": 5},
    ]
    (tmp_path / "faults.ndjson").write_text("".join(json.dumps(r) + "\n" for r in parts))
    return tmp_path


def everything(run: Run) -> dict[str, list[tuple[object, ...]]]:
    return {table: run.table(table).order("ALL").fetchall() for table in TABLES}


def test_a_sealed_archive_has_the_same_rows_as_the_raw_one(run_dir: Path) -> None:
    raw = everything(Run(run_dir))
    assert seal(run_dir).rows == dict.fromkeys(TABLES, 0) | {"requests": 2, "faults": 1}
    assert not list(run_dir.glob("*.ndjson"))
    assert everything(Run(run_dir)) == raw
    seal(run_dir)
    assert everything(Run(run_dir)) == raw


def test_each_table_has_its_documented_columns_and_types_even_when_empty(run_dir: Path) -> None:
    for when in ("raw", "sealed"):
        run = Run(run_dir)
        for table, columns in TABLES.items():
            relation = run.table(table)
            assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == columns, (
                when,
                table,
            )
        seal(run_dir)


def test_frames_keep_integer_and_boolean_types_beside_nulls(run_dir: Path) -> None:
    rows = [
        {"route": "a", "seq": 2**62 + 1, "dropped": True, "status": 200, "end_s": 1.5},
        {"route": "b"},
    ]
    (run_dir / "requests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = Run(run_dir).frame("requests")
    columns = ("seq", "dropped", "status", "end_s", "route")
    types = [str(frame[column].dtype) for column in columns]
    assert types[:4] == ["Int64", "boolean", "Int32", "float64"]
    assert frame.seq[0] == 2**62 + 1
    assert frame[["seq", "dropped", "status", "end_s"]].iloc[1].isna().all()
    (run_dir / "requests.ndjson").write_text(json.dumps(rows[0]) + "\n")
    frame = Run(run_dir).frame("requests")
    assert [str(frame[name].dtype) for name in columns[:4]] == ["int64", "bool", "int32", "float64"]


def test_the_parts_of_a_fault_are_merged_to_one_row(run_dir: Path) -> None:
    fault = Run(run_dir).frame("faults").iloc[0]
    assert (fault.kind, fault.target, fault.hits) == ("latency", "bank-1", 5)
    assert (fault.commanded_s, fault.effective_s, fault.removed_s) == (1.0, 1.2, 9.0)
    assert json.loads(fault.attributes) == {"delay_ms": 2000}


def test_an_incomplete_last_line_is_skipped_and_counted(run_dir: Path) -> None:
    with (run_dir / "requests.ndjson").open("a") as file:
        file.write('{"seq": 3, "route": "GET /api/pro')
    assert len(Run(run_dir).requests) == 2
    sealed = seal(run_dir)
    assert (sealed.rows["requests"], sealed.damaged) == (2, {"requests": 1})


def test_interrupted_sealing_can_be_repeated(run_dir: Path) -> None:
    (run_dir / "requests.1234.tmp").write_bytes(b"half a file")
    (run_dir / "requests.parquet").write_bytes(b"PAR1 stale")
    assert len(Run(run_dir).requests) == 2
    assert seal(run_dir).rows["requests"] == 2
    assert not list(run_dir.glob("*.tmp"))


def test_an_archive_of_version_1_can_be_read_and_its_spans_have_no_events(run_dir: Path) -> None:
    seal(run_dir)
    path = str(run_dir / "spans.parquet")
    write_parquet("SELECT 'ab' AS trace_id, 'GET /' AS name", path)
    assert Run(run_dir).info["archive_version"] == 1
    assert Run(run_dir).spans.project("trace_id, events").fetchall() == [("ab", None)]


def test_a_table_may_have_sealed_and_raw_parts(run_dir: Path) -> None:
    for number, name in enumerate(["logs.000001", "logs.000002", "logs"]):
        row = {"time_s": number, "message": name}
        (run_dir / f"{name}.ndjson").write_text(json.dumps(row) + "\n")
    expected = [("logs.000001",), ("logs.000002",), ("logs",)]
    assert Run(run_dir).logs.project("message").fetchall() == expected
    with duckdb.connect() as connection:
        seal_part(connection, run_dir / "logs.000001.ndjson")
    assert sorted(path.name for path in parts(run_dir, "logs")) == [
        "logs.000001.parquet", "logs.000002.ndjson", "logs.ndjson",
    ]  # fmt: skip
    assert Run(run_dir).logs.project("message").fetchall() == expected
    assert seal(run_dir).rows["logs"] == 3
    assert Run(run_dir).logs.project("message").fetchall() == expected


def test_a_segment_in_both_forms_is_read_as_parquet_and_its_ndjson_goes_with_sealing(
    run_dir: Path,
) -> None:
    raw = run_dir / "logs.000001.ndjson"
    raw.write_text(json.dumps({"time_s": 1, "message": "once"}) + "\n")
    opened = Run(run_dir).logs  # before the segment is compacted
    with duckdb.connect() as connection:
        seal_part(connection, raw, keep=True)
    assert opened.project("message").fetchall() == [("once",)]
    assert parts(run_dir, "logs") == [run_dir / "logs.000001.parquet"]
    assert Run(run_dir).logs.project("message").fetchall() == [("once",)]
    assert seal(run_dir).rows["logs"] == 1
    assert not raw.exists()


def test_a_column_that_an_older_archive_lacks_is_null(run_dir: Path) -> None:
    seal(run_dir)
    path = str(run_dir / "breakers.parquet")
    write_parquet("SELECT 1.0::DOUBLE AS time_s, 'x' AS edge, 9 AS later", path)
    row = Run(run_dir).frame("breakers").iloc[0]
    assert (row.edge, row.later) == ("x", 9)
    assert "policy" in row.index


def test_audit_tables_are_found_by_name(run_dir: Path) -> None:
    (run_dir / "state").mkdir()
    write_parquet("SELECT 'o1' AS order_id", str(run_dir / "state/orders.orders.parquet"))
    run = Run(run_dir)
    assert run.states == ["orders.orders"]
    assert run.frame("orders.orders").order_id.tolist() == ["o1"]
    named = run.with_state("orders.orders").sql("SELECT order_id FROM orders_orders")
    assert named.fetchall() == [("o1",)]
    with pytest.raises(ArchiveError, match=r"no audit table bank.ledger \(it has: orders.orders\)"):
        run.state("bank.ledger")


def test_a_column_that_is_no_longer_in_a_table_is_left_out(run_dir: Path) -> None:
    seal(run_dir)
    path = str(run_dir / "faults.parquet")
    write_parquet("SELECT 'f' AS fault_id, 'confirmed' AS status, 2 AS hits", path)
    faults = Run(run_dir).faults
    assert "status" not in faults.columns
    assert faults.project("fault_id, hits, kind").fetchall() == [("f", 2, None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("requests.ndjson", b"garbage\n", "requests.ndjson is damaged .* not a JSON object"),
        ("requests.ndjson", bytes(range(256)) * 9, "requests.ndjson is damaged"),
        ("spans.parquet", b"garbage", "spans cannot be read"),
        ("run.json", b"{", "run.json is damaged"),
        ("run.json", b'{"archive_version": 4}', "version 4, this Breakwater reads up to version 3"),
    ],
)
def test_the_error_of_a_damaged_archive_names_the_file(
    run_dir: Path, name: str, content: bytes, message: str
) -> None:
    (run_dir / name).write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        Run(run_dir)


def test_the_error_of_a_missing_archive_gives_the_remedy(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ArchiveError, match="`lab runs` lists"):
            Run(path)
    with pytest.raises(ArchiveError, match="use the run's directory"):
        Run(Path(__file__))
    with pytest.raises(ArchiveError, match="lab run payments_slow"):
        latest_run(tmp_path)
    with pytest.raises(ArchiveError, match="there is no run"):
        seal(tmp_path / "missing")


def test_the_latest_run_is_the_newest_that_is_an_archive(tmp_path: Path) -> None:
    for name in ("20260101T000000Z-a-1", "20260102T000000Z-a-1", "20260103T000000Z-not-a-run"):
        (tmp_path / name).mkdir()
    for path in sorted(tmp_path.iterdir())[:2]:
        (path / "run.json").write_text("{}")
    assert latest_run(tmp_path).name == "20260102T000000Z-a-1"
    assert len(list_runs(tmp_path)) == 2
    assert list_runs(tmp_path / "missing") == []


def test_a_run_is_found_by_latest_name_unique_prefix_or_unique_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    names = ["20260101T000000Z-b-1", "20260102T000000Z-a-1", "20260102T000000Z-a-12"]
    for name in names:
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    assert find_run("latest").name == find_run().name == names[2]
    for found in (names[0], "20260101", "b-1"):
        assert find_run(found).name == names[0]
    assert find_run(names[1]).name == names[1], "a whole name that is also the start of another"
    assert find_run("-a-12").name == names[2]
    for ambiguous in ("2026", "20260102", "-a-1"):
        with pytest.raises(ArchiveError, match="runs match"):
            find_run(ambiguous)
