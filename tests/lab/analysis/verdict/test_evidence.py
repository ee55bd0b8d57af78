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
from tests.lab.analysis.archives import edit
from tests.lab.analysis.verdict.damages import damages, held_after, sealed_archive


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


@pytest.mark.parametrize("fitted", [False, True])
def test_no_damaged_archive_is_held(whole: Path, tmp_path: Path, fitted: bool) -> None:
    """A sample of the damages; `make verify-damage` does all of them."""
    assert len(list(damages(whole))) >= 200
    done, held = held_after(whole, tmp_path, fitted, every=29)
    assert done >= 10
    assert held == []


def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "damaged"))


def test_a_missing_manifest_is_named(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    (path / MANIFEST).unlink()
    assert contradictions(path) == [f"{MANIFEST} is missing"]
