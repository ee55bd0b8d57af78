"""A machine that was not free for the lab makes a run invalid, whatever else was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.analysis.machine import SUSTAINED_S, judged_seconds, seconds, sustained
from lab.analysis.verdict.machine import NAME, TAKEN_SHARE_MAX, check
from lab.analysis.verdict.verdict import judge
from lab.archive import Run, seal
from lab.archive.manifest import write_manifest
from tests.lab.analysis.archives import edit
from tests.lab.analysis.machine_rows import Row, machine_rows, stated
from tests.lab.analysis.simulation import START_S

Archive = Callable[..., Path]
SECONDS = 66


def rewrite(path: Path, rows: list[Row]) -> Path:
    """Replace the samples, with a count in run.json that fits."""
    (path / "machine.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(info | {"machine": stated(rows)}))
    write_manifest(path)
    return path


def reason(path: Path) -> str:
    """Why the machine was not free for the lab; empty if it was."""
    name, ok, detail = check(Run(path))
    assert name == NAME
    return "" if ok else detail


def invalid_for(path: Path) -> str:
    """The reasons of the verdict, which must be invalid."""
    verdict = judge(Run(path))
    assert (verdict["verdict"], verdict["exit_code"]) == ("invalid", 3)
    return " | ".join(verdict["reasons"])


def test_a_quiet_machine_is_stated_with_its_figures(archive: Archive) -> None:
    path = archive()
    found = (NAME, True, "lab 20%, others 2% (at most 2% in 20 s), steal 0%")
    assert check(Run(path)) == found
    seal(path)
    assert check(Run(path)) == found


@pytest.mark.parametrize("mutant", ["", "double_capture"])
def test_a_burst_during_the_fault_is_invalid_and_never_deviated(
    archive: Archive, mutant: str
) -> None:
    busy = machine_rows(START_S, SECONDS, lambda second: 0.5 if 24 <= second < 32 else 0.0)
    text = invalid_for(rewrite(archive(mutant), busy))
    assert f"{NAME}: others and steal took 20% of the CPU in seconds 1" in text
    assert "mostly make" in text


def test_others_that_broke_a_limit_make_a_run_invalid(archive: Archive) -> None:
    path = archive()
    rows = [json.loads(line) for line in (path / "requests.ndjson").read_text().splitlines()]
    for each in rows:
        if 20 <= each["intended_start_s"] - START_S < 36:
            each["end_s"] += 9.0
    (path / "requests.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_manifest(path)
    assert judge(Run(path))["verdict"] == "deviated"
    busy = machine_rows(START_S, SECONDS, lambda second: 0.5 if 24 <= second < 32 else 0.0)
    assert NAME in invalid_for(rewrite(path, busy))


def test_steal_and_others_count_together(archive: Archive) -> None:
    half = 0.6 * TAKEN_SHARE_MAX
    rows = machine_rows(START_S, SECONDS, lambda _: half)
    path = rewrite(archive(), rows)
    assert reason(path) == ""
    for each in rows:
        each["cpu_steal"] += half
        each["cpu_idle"] -= half
    assert "others and steal took" in reason(rewrite(path, rows))


def test_a_busy_second_counts_only_if_it_lasts(archive: Archive) -> None:
    share, enough = 0.7, TAKEN_SHARE_MAX * SUSTAINED_S / 0.7
    path = archive()
    for lasts in (1, int(enough), int(enough) + 1):
        others = dict.fromkeys(range(SECONDS + 1), 0.0) | dict.fromkeys(
            range(30, 30 + lasts), share
        )
        rows = machine_rows(START_S, SECONDS, others.__getitem__)
        rewrite(path, rows)
        assert bool(reason(path)) == (lasts > enough)
        frame = judged_seconds(Run(path))
        assert sustained(frame, "others").max() == pytest.approx(share * lasts / SUSTAINED_S)


@pytest.mark.filterwarnings("error")
def test_a_window_shorter_than_the_limit_s_is_judged_by_its_mean() -> None:
    rows = pd.DataFrame({"interval_s": [1.0] * 8, "taken": [0.4] * 4 + [0.0] * 4})
    found = sustained(rows, "taken")
    assert found.iloc[-1] == pytest.approx(0.2)
    assert found.iloc[:-1].isna().all()


def test_only_the_seconds_from_before_to_after_are_judged(archive: Archive) -> None:
    rows = machine_rows(START_S, SECONDS, lambda second: 0.7 if second < 5 or second > 61 else 0.0)
    assert reason(rewrite(archive(), rows)) == ""


def test_an_overload_by_the_lab_itself_is_valid(archive: Archive) -> None:
    rows = machine_rows(START_S, SECONDS, lambda _: 0.0)
    for each in rows:
        each |= {"cpu_user": 0.9, "cpu_idle": 0.04, "cpu_lab": 0.95, "runnable": 40}
    assert reason(rewrite(archive(), rows)) == ""


@pytest.mark.parametrize(("step_s", "invalid"), [(0.05, False), (-0.5, True), (3.0, True)])
def test_a_step_of_the_clock_is_invalid(archive: Archive, step_s: float, invalid: bool) -> None:
    rows = machine_rows(START_S, SECONDS + 1)
    rows[29]["clock_step_s"] = step_s
    for each in rows[29:]:
        each["time_s"] += step_s
    text = reason(rewrite(archive(), rows))
    assert (f"the clock jumped by {step_s:+.2f} s at second" in text) == invalid
    assert bool(text) == invalid


def without(name: str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row | {name: None} for row in rows]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda rows: [], "no sample of the machine"),
        (lambda rows: rows[:20] + rows[21:], "missing before second 2"),
        (lambda rows: rows[3:], "do not cover"),
        (lambda rows: rows[:-3], "do not cover"),
        (lambda rows: [*rows[:20], rows[23] | {"interval_s": 4.0}, *rows[24:]], "no sample of the machine for 4"),
        (lambda rows: [row | {"cpu_lab": 0.9} for row in rows], "contradict"),
        (lambda rows: [row | {"cpu_idle": 0.9} for row in rows], "contradict"),
        (lambda rows: [row | {"cpu_user": -0.1, "cpu_idle": 1.04} for row in rows], "contradict"),
        *((without(name), f"no {name}") for name in
          ("interval_s", "late_s", "clock_step_s", "cpu_user", "cpu_system", "cpu_idle", "cpu_lab")),
    ],
)  # fmt: skip
def test_missing_or_contradictory_samples_are_invalid(
    archive: Archive, damage: Callable[[list[Row]], list[Row]], text: str
) -> None:
    assert text in reason(rewrite(archive(), damage(machine_rows(START_S, SECONDS))))


def test_each_column_that_run_json_states_is_needed_and_linux_has_more(archive: Archive) -> None:
    path = archive()
    rows = machine_rows(START_S, SECONDS)
    for name in ("waiting", "busiest_other", "cpu_steal"):
        (path / "machine.ndjson").write_text(
            "".join(json.dumps(row | {name: None}) + "\n" for row in rows)
        )
        assert reason(path) == f"samples of the machine have no {name}"
    rewrite(path, without("cpu_steal")(rows))
    info = json.loads((path / "run.json").read_text())
    info["machine"]["columns"].remove("cpu_steal")
    (path / "run.json").write_text(json.dumps(info))
    assert reason(path) == ""  # a system that knows no steal
    info["host"]["os"] = "Linux-6.1"
    (path / "run.json").write_text(json.dumps(info))
    assert reason(path) == "samples of the machine have no cpu_steal"


def test_a_run_without_the_table_or_with_another_count_is_invalid(archive: Archive) -> None:
    path = archive()
    lines = (path / "machine.ndjson").read_text().splitlines(keepends=True)
    (path / "machine.ndjson").write_text("".join(lines[:-1]))
    assert "does not state the archive's 65 samples" in reason(path)
    damages: list[Any] = [{}, [], {"samples": 65}, {"samples": 65, "columns": []}]
    for changed in damages:
        edit(path, "run.json", machine=changed)
        assert "does not state" in reason(path)
    (path / "machine.ndjson").unlink()
    assert "no sample of the machine was recorded" in invalid_for(path)
    assert seconds(Run(path)).empty
