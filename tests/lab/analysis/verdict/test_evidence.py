"""An archive with a gap in its evidence is invalid, and the gap is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.analysis.verdict.claim import claim_of
from lab.analysis.verdict.evidence import gaps
from lab.analysis.verdict.verdict import judge
from lab.archive import Run
from lab.archive.manifest import MANIFEST, contradictions
from tests.lab.analysis.archives import EXPERIMENT, edit, refit
from tests.lab.analysis.simulation import START_S
from tests.lab.analysis.verdict.damages import damages, held_after, rewrite, sealed_archive


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_archive(tmp_path_factory.mktemp("evidence") / "whole")


def test_a_whole_archive_has_no_gap(whole: Path) -> None:
    run = Run(whole)
    assert gaps(run, claim_of(run)) == []
    assert judge(run)["verdict"] == "held"


def test_a_file_that_was_changed_or_added_contradicts_the_manifest(
    whole: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    (path / "spans.parquet").write_bytes((path / "logs.parquet").read_bytes())
    shutil.copy(path / "logs.parquet", path / "logs.000001.parquet")
    assert contradictions(path) == [
        "logs.000001.parquet is not in the manifest",
        "spans.parquet was changed after the run",
    ]


@pytest.mark.parametrize(("chaos", "ok"), [(0, True), (1, True), (-9, False), (None, False)])
def test_a_toolkit_that_was_killed_makes_the_run_invalid(
    whole: Path, tmp_path: Path, chaos: int | None, ok: bool
) -> None:
    path = edit(copied(whole, tmp_path), "run.json", exit_codes={"chaos": chaos, "load": 0})
    verdict = judge(Run(path))
    assert (verdict["verdict"] == "held") is ok
    assert ok or f"the exit code of chaos is {chaos}" in verdict["reasons"][0]


def test_a_method_that_its_guard_cut_off_is_no_gap(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    cut_off = {"activity": EXPERIMENT["method"][0], "output": None, "start": "now"}
    edit(path, "journal.json", status="aborted", run=[cut_off])
    assert any("status is missing" in gap for gap in gaps_of(path))
    edit(path, "run.json", guard={"name": "orders fail", "reason": "error_ratio 0.7"})
    assert gaps_of(path) == []


def test_a_gap_of_the_scrapes_is_explained_by_a_fault_of_the_recorder_only(
    whole: Path, tmp_path: Path
) -> None:
    path = copied(whole, tmp_path)
    without = f"time_s BETWEEN {START_S + 25} AND {START_S + 33}"
    rewrite(path, "metrics.parquet", f"SELECT * FROM rows WHERE NOT ({without})")  # noqa: S608
    refit(path)
    assert sum("no sample of" in gap for gap in gaps_of(path)) == 7  # 6 instances, and any
    for target, explained in (("bank-1", False), ("recorder", True)):
        fault = f"SELECT * REPLACE ('{target}' AS target) FROM rows"  # noqa: S608
        rewrite(path, "faults.parquet", fault)
        refit(path)
        assert any("no sample of" in gap for gap in gaps_of(path)) is not explained


def gaps_of(path: Path) -> list[str]:
    run = Run(path)
    return gaps(run, claim_of(run))


@pytest.mark.parametrize("fitted", [False, True])
def test_no_damaged_archive_is_held(whole: Path, tmp_path: Path, fitted: bool) -> None:
    """A sample of the damages; `make verify-damage` does all of them."""
    assert len(list(damages(whole))) >= 200
    done, held = held_after(whole, tmp_path, fitted, every=67, first=33 if fitted else 0)
    assert done >= 8
    assert held == []


def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "damaged"))


def test_a_missing_manifest_is_named(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    (path / MANIFEST).unlink()
    assert contradictions(path) == [f"{MANIFEST} is missing"]
