"""Every experiment has a protection, the shop reads its switch, and its figure is found by name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.protection_figures import (
    BROKEN,
    KEPT,
    MARKS,
    MISSING,
    UNDECIDED,
    Figure,
    between_marks,
    figure_of,
)
from bench.protections import PAGE, SWITCHES, Case, Row, Runs, protections, tables
from lab.analysis.consistency import INVARIANTS
from lab.chaos.experiment.loader import experiment_files, find_experiment
from lab.chaos.experiment.protection import INVARIANT
from lab.load.profiles import find_profile
from lab.topology import PROJECT

CASES = [*protections(), *SWITCHES]
SOURCE = "".join(path.read_text() for path in (PROJECT / "system").rglob("*.py"))
CASE = Case("x", "payments_slow", "what", ("--set", "RESILIENCE=none"), "orders answered")


def test_every_experiment_has_a_protection() -> None:
    all_of_them = {file.stem for file in experiment_files()}
    assert {case.name for case in protections()} >= all_of_them


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_shop_reads_each_setting_and_knows_each_value(case: Case) -> None:
    for option, value in zip(case.without[::2], case.without[1::2], strict=True):
        if option == "--set":
            name, setting = value.rpartition(".")[2].split("=")
            assert f'"{name}"' in SOURCE
            if name == "RESILIENCE":
                assert f'"{setting}"' in SOURCE
    if invariant := INVARIANT.fullmatch(case.breaks):
        assert int(invariant[1]) in INVARIANTS
    assert find_profile(case.load)


def test_the_switches_are_those_of_the_page_of_invariants() -> None:
    page = (PROJECT / "docs" / "invariants.md").read_text()
    assert {case.name for case in SWITCHES} == set(re.findall(r"switch `(\w+)=off`", page))


SLI: dict[str, Any] = {
    "name": "orders answered",
    "unit": "ms",
    "limit": 1300.0,
    "value": 2517.0,
    "answer": BROKEN,
}


@pytest.mark.parametrize(
    ("changes", "figure"),
    [
        ({}, Figure("2,517 ms", BROKEN, "1,300 ms")),
        ({"answer": UNDECIDED}, Figure("2,517 ms", UNDECIDED, "1,300 ms")),
        ({"value": 61.0, "answer": KEPT}, Figure("61 ms", KEPT, "1,300 ms")),
        ({"value": None, "answer": UNDECIDED}, Figure("", MISSING, "1,300 ms")),
        ({"unit": "", "value": 0.4123, "limit": 0.01}, Figure("0.412", BROKEN, "0.01")),
    ],
)
def test_an_sli_is_found_by_its_name(changes: dict[str, Any], figure: Figure) -> None:
    assert figure_of("orders answered", {"sli": [SLI | changes]}, {}) == figure


@pytest.mark.parametrize(
    ("status", "answer"),
    [("ok", KEPT), ("violated", BROKEN), ("no_data", MISSING), ("empty", MISSING)],
)
def test_an_invariant_without_data_is_neither_kept_nor_broken(status: str, answer: str) -> None:
    rows = [{"id": 4, "name": "one key", "status": status, "violations": 9}]
    assert figure_of("invariant 4", {"sli": [], "invariants": rows}, {}).answer == answer


def probed(output: Any, status: str = "succeeded", met: bool = True) -> dict[str, Any]:
    activity = {"name": "a page opens", "tolerance": [0, 0.5]}
    return {"activity": activity, "output": output, "status": status, "tolerance_met": met}


def test_a_probe_breaks_by_one_result_during_or_after_the_method() -> None:
    before, good, late = probed(9.0, met=False), probed(0.1), probed(2.5, met=False)
    states = {
        "before": {"probes": [before]},
        "during": [{"probes": [good]}, {"probes": [late]}],
        "after": {"probes": [good]},
    }
    found = figure_of("a page opens", {"sli": []}, {"steady_states": states, "run": []})
    assert found == Figure("at most 2.50, 1 of 3 failed", BROKEN, "[0, 0.5]")
    states["during"] = [{"probes": [good]}]
    found = figure_of("a page opens", {"sli": []}, {"steady_states": states})
    assert found == Figure("at most 0.10", KEPT, "[0, 0.5]")
    raised = probed(None, status="failed")
    assert figure_of("a page opens", {"sli": []}, {"run": [raised]}).answer == BROKEN
    assert figure_of("a page opens", {"sli": []}, {"run": []}).answer == MISSING


def test_a_row_is_shown_only_if_the_figure_breaks_without_and_not_with_the_protection() -> None:
    good, bad, open_, none = (Figure("", each) for each in (KEPT, BROKEN, UNDECIDED, MISSING))
    assert Row(CASE, good, bad).shown
    assert Row(CASE, open_, bad).shown
    assert Row(CASE, good, None).shown
    wrong = [(bad, bad), (good, good), (good, open_), (good, none), (none, bad), (none, None)]
    assert [Row(CASE, *each).shown for each in wrong] == [False] * len(wrong)


def test_an_archive_is_used_again_only_for_the_same_experiment_load_and_seed(
    tmp_path: Path,
) -> None:
    runs = Runs(tmp_path, None, 1, check=True)
    folder = tmp_path / "payments_slow-ordering-with" / "20260101T000000Z-payments_slow-1"
    assert runs.figure(CASE, ()).answer == MISSING
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_bytes(find_experiment("payments_slow").read_bytes())
    (folder / "run.json").write_text(json.dumps({"profile": "ordering"}))
    (folder / "verdict.json").write_text("{}")
    assert runs.found(CASE, ()) == folder
    assert runs.found(CASE, CASE.without) is None
    assert Runs(tmp_path, None, 2, check=True).found(CASE, ()) is None
    (folder / "run.json").write_text(json.dumps({"profile": "light"}))
    assert runs.found(CASE, ()) is None


def test_the_tables_replace_those_between_the_marks_of_the_page() -> None:
    row = Row(CASE, Figure("61 ms", KEPT, "1,300 ms"), Figure("2,517 ms", BROKEN, "1,300 ms"))
    page = between_marks(PAGE.read_text(), tables([row]))
    assert page.count("1,300 ms | 61 ms: kept | 2,517 ms: broken |") == 1
    assert between_marks(page, "") == between_marks(PAGE.read_text(), "")
    with pytest.raises(ValueError, match="substring"):
        between_marks("no marks", MARKS[0])
