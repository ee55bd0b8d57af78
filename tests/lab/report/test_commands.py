"""`lab runs`, `lab check`, `lab report`, `lab notebook`: answers, exit codes, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.archive import seal
from lab.archive.manifest import write_manifest
from lab.cli import run as lab
from tests.lab.analysis.archives import edit, write_archive


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A labs' folder with one good and one deviating run."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    write_archive(tmp_path / "runs" / "20260101T000000Z-payments_slow-1")
    write_archive(tmp_path / "runs" / "20260102T000000Z-payments_slow-2", "lost_order")
    return tmp_path / "runs"


def test_check_judges_a_run_and_its_exit_code_is_the_verdicts(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(["check", "20260101T000000Z-payments_slow-1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("HELD")
    fast = r"kept      browsing stays fast: [\d.]+ ms \([\d.]+ ms to [\d.]+ ms\), limit 100 ms"
    assert re.search(fast + r" \[p95_ms of GET /api/products/\{id\}, during, \d+ requests\]", shown)
    assert re.search(
        r"kept      the breaker payments->bank opens within 5 s: after [\d.]+ s", shown
    )
    assert lab(["check"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("DEVIATED")
    assert "VIOLATED  6 no acknowledged order is lost" in shown
    (runs / "20260102T000000Z-payments_slow-2" / "recorder.json").unlink()
    assert lab(["check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "invalid"


def test_check_names_what_was_changed_after_the_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "20260101T000000Z-payments_slow-1"
    seal(path)
    write_manifest(path)
    assert lab(["check", path.name]) == 0
    spans = path / "spans.parquet"
    spans.write_bytes(spans.read_bytes()[:-100])
    (path / "load.json").unlink()
    capsys.readouterr()
    assert lab(["check", path.name]) == 3
    shown = capsys.readouterr().out
    assert shown.startswith("INVALID")
    assert "load.json is missing" in shown
    assert "spans.parquet was changed after the run" in shown


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"archive_version": 2}, "has version 2, and a verdict needs the evidence of version 3"),
        ({"source": "http://127.0.0.1:9090"}, "not written by `lab run`"),
    ],
)
def test_an_archive_of_another_version_or_tool_is_invalid_in_one_sentence(
    runs: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    path = edit(runs / "20260101T000000Z-payments_slow-1", "run.json", **changes)
    assert lab(["check", "--json", path.name]) == 3
    assert sentence in json.loads(capsys.readouterr().out)["reasons"][0]


def test_runs_are_listed_oldest_first_with_damaged_ones(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = runs / "20260103T000000Z-broken-3"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert lab(["runs", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["run"] for each in listed] == sorted(path.name for path in runs.iterdir())
    assert listed[0]["requests"] == 1824
    assert "damaged" in listed[2]["problem"]
    assert lab(["runs"]) == 0
    assert "not judged" in capsys.readouterr().out


def test_report_writes_the_page_of_the_newest_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(["report", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["run"].endswith("20260102T000000Z-payments_slow-2")
    assert Path(listed["report"]).is_file()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["check", "nope"], "there is no run 'nope': `lab runs` lists all runs"),
        (["report", "payments_slow"], "2 runs match 'payments_slow': use a longer name"),
        (["notebook", "latensy"], "no notebook 'latensy'; did you mean 'latency'?"),
        (["notebook", "latency", "--run", "nope"], "there is no run 'nope'"),
    ],
)
def test_a_name_that_does_not_exist_is_a_usage_error(
    runs: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert lab(argv) == 2
    assert message in capsys.readouterr().err


def test_without_any_run_the_message_names_the_command_that_records_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    assert lab(["check"]) == 2
    assert "record one with `lab run payments_slow`" in capsys.readouterr().err
    assert lab(["runs"]) == 0
    assert "`lab run payments_slow` makes one" in capsys.readouterr().out
