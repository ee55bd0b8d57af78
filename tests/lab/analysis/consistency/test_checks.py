"""Each planted bug is exactly one named violation; a clean run has none (ground truth 20)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from lab.analysis.consistency import INVARIANTS, check_all
from lab.archive import Run
from tests.lab.analysis.archives import MUTANTS, write_archive
from tests.lab.archive.parquet import write_parquet

UNHANDLED = "no service meets an unhandled error"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_clean_run_has_no_violation_and_each_invariant_has_data(
    tmp_path: Path, seed: int
) -> None:
    results = check_all(Run(write_archive(tmp_path / "run", seed=seed)))
    assert {result.id: result.status for result in results} == dict.fromkeys(INVARIANTS, "ok")
    assert all(result.checked > 10 and result.possible == 0 for result in results)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_exactly_one_named_violation(
    archive: Callable[..., Path], mutant: str
) -> None:
    results = check_all(Run(archive(mutant)))
    violated = {result.id: (result.violations, result.examples) for result in results
                if result.violations}  # fmt: skip
    expected = MUTANTS[mutant][0]
    assert list(violated) == [expected], violated
    assert violated[expected][0] == 1
    assert all(result.status == "ok" for result in results if result.id != expected)


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


def test_an_example_names_the_problem_and_the_order(archive: Callable[..., Path]) -> None:
    [result] = check_all(Run(archive("lost_order")), [6])
    assert result.examples[0]["problem"] == "acknowledged, but does not exist"
    assert result.examples[0]["order_id"].startswith("order-")
