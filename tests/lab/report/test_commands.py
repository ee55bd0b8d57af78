"""`lab runs`, `lab check`, `lab report`, `lab notebook`: answers, exit codes, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.cli import run as lab
from tests.lab.analysis.archives import write_archive


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A labs' folder with one good and one deviating run."""
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    write_archive(tmp_path / "runs" / "20260101T000000Z-payments_slow-1")
    write_archive(tmp_path / "runs" / "20260102T000000Z-payments_slow-2", "lost_order")
    return tmp_path / "runs"


def test_check_judges_and_its_exit_code_says_how(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(["check", "20260101T000000Z-payments_slow-1"]) == 0
    assert capsys.readouterr().out.startswith("HELD")
    assert lab(["check"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("DEVIATED")
    assert "VIOLATED  6 no acknowledged order is lost" in shown
    (runs / "20260102T000000Z-payments_slow-2" / "recorder.json").unlink()
    assert lab(["check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "invalid"


def test_runs_lists_them_oldest_first_and_a_damaged_one_too(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = runs / "20260103T000000Z-broken-3"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert lab(["runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["run"] for each in told] == sorted(path.name for path in runs.iterdir())
    assert told[0]["requests"] == 1645
    assert "damaged" in told[2]["problem"]
    assert lab(["runs"]) == 0
    assert "not judged" in capsys.readouterr().out


def test_report_writes_the_page_of_the_newest_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(["report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"].endswith("20260102T000000Z-payments_slow-2")
    assert Path(told["report"]).is_file()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["check", "nope"], "there is no run 'nope': `lab runs` lists those there are"),
        (["report", "payments_slow"], "2 runs are called like 'payments_slow': say more"),
        (["notebook", "latensy"], "no notebook 'latensy'; did you mean 'latency'?"),
        (["notebook", "latency", "--run", "nope"], "there is no run 'nope'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(
    runs: Path, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    assert lab(argv) == 2
    assert says in capsys.readouterr().err


def test_no_run_at_all_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    assert lab(["check"]) == 2
    assert "make one with `lab run payments_slow`" in capsys.readouterr().err
    assert lab(["runs"]) == 0
    assert "make one with" in capsys.readouterr().out
