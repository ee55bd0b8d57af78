"""Each planted bug is exactly one named violation; a clean run has none (ground truth 20)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from lab.analysis.consistency import INVARIANTS, check_all
from lab.archive import AUDIT_TABLES, Run
from tests.lab.analysis.archives import write_archive
from tests.lab.analysis.planted import PLANTED
from tests.lab.archive.parquet import write_parquet

UNHANDLED = "no service meets an unhandled error"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_clean_run_has_no_violation_and_each_invariant_has_data(
    tmp_path: Path, seed: int
) -> None:
    results = check_all(Run(write_archive(tmp_path / "run", seed=seed)))
    assert {result.id: result.status for result in results} == dict.fromkeys(INVARIANTS, "ok")
    assert all(result.checked > 10 and result.possible == 0 for result in results)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_by_its_invariant(archive: Callable[..., Path], name: str) -> None:
    bug = PLANTED[name]
    results = check_all(Run(archive(name)), [bug.invariant, *bug.also])
    assert {each.id for each in results if each.violations} == {bug.invariant, *bug.also}
    assert all(each.examples for each in results)


FIRST_OF_EACH = {bug.invariant: name for name, bug in reversed(PLANTED.items())}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_OF_EACH.values())
def test_a_planted_bug_is_found_by_no_other_invariant(
    archive: Callable[..., Path], name: str
) -> None:
    others = set(INVARIANTS) - {PLANTED[name].invariant, *PLANTED[name].also}
    assert {each.status for each in check_all(Run(archive(name)), others)} == {"ok"}


def test_without_audit_tables_the_result_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    results = check_all(Run(tmp_path))
    assert {result.status for result in results} == {"no_data"}
    assert results[0].detail == "the archive has no audit table bank.ledger"


def test_empty_audit_tables_are_no_data(archive: Callable[..., Path]) -> None:
    path = archive()
    for table in (path / "state").glob("*.parquet"):
        duckdb.read_parquet(str(table)).filter("false").write_parquet(f"{table}.new")
        Path(f"{table}.new").replace(table)
    (path / "requests.ndjson").unlink()
    results = [each for each in check_all(Run(path)) if each.name != UNHANDLED]  # it reads the log
    assert {result.status for result in results} == {"no_data"}


@pytest.mark.parametrize("table", AUDIT_TABLES)
def test_an_emptied_audit_table_is_never_a_pass(archive: Callable[..., Path], table: str) -> None:
    path = archive()
    file = path / f"state/{table}.parquet"
    empty = duckdb.read_parquet(str(file)).filter("false")
    empty.write_parquet(f"{file}.new")
    Path(f"{file}.new").replace(file)
    run = Run(path)
    by_need = sorted(INVARIANTS, key=lambda number: table not in INVARIANTS[number].needs)
    assert any(check_all(run, [number])[0].status in ("violated", "no_data") for number in by_need)


def test_a_run_without_cancellations_has_nothing_to_check(archive: Callable[..., Path]) -> None:
    path = archive()
    requests = path / "requests.ndjson"
    lines = requests.read_text().splitlines(keepends=True)
    requests.write_text("".join(line for line in lines if "/cancel" not in line))
    [cancellations] = check_all(Run(path), [19])
    assert (cancellations.status, cancellations.checked) == ("empty", 0)


def test_requests_without_what_was_asked_are_no_data(archive: Callable[..., Path]) -> None:
    path = archive()
    requests = path / "requests.ndjson"
    requests.write_text(requests.read_text().replace('"asked"', '"unused"'))
    [asked] = check_all(Run(path), [20])
    assert asked.status == "no_data"
    assert asked.detail.endswith("orders have no request's lines")


def test_an_audit_table_with_other_columns_is_no_data(archive: Callable[..., Path]) -> None:
    path = archive()
    write_parquet("SELECT 1 AS x", str(path / "state/inventory.stock.parquet"))
    [stock] = check_all(Run(path), [3])
    assert stock.status == "no_data"
    assert "has unexpected columns" in stock.detail


def test_a_violation_of_an_earlier_run_is_not_reported(archive: Callable[..., Path]) -> None:
    path = archive("double_capture")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(info | {"started_s": info["started_s"] + 50.0}))
    [once] = check_all(Run(path), [1])
    assert once.status == "ok"
    assert once.checked > 0


def test_without_quiescence_a_violation_is_only_possible(archive: Callable[..., Path]) -> None:
    path = archive("lost_outbox_row")
    info = json.loads((path / "run.json").read_text())
    info["quiescence"] = {"reached": False, "waited_s": 30.0}
    (path / "run.json").write_text(json.dumps(info))
    [events] = check_all(Run(path), [5])
    assert (events.violations, events.possible, events.status) == (0, 1, "ok")


def test_an_example_names_the_problem_the_order_and_its_trace(archive: Callable[..., Path]) -> None:
    run = Run(archive("lost_order"))
    [result] = check_all(run, [6])
    assert result.examples[0]["problem"] == "acknowledged, but does not exist"
    assert result.examples[0]["order_id"].startswith("order-")
    trace_id = result.examples[0]["trace_id"]
    assert run.sql("SELECT count(*) FROM spans WHERE trace_id = ?", [trace_id]).fetchall() > [(0,)]
