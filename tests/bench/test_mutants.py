"""The planted bugs of bench/mutants_table apply to today's shop, without running a lab."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.mutants import Copy, NotLoadedError, Row, module_of, planted, read_verdict
from bench.mutants_table import MODULES, MUTANTS
from bench.mutants_table.mutant import ABOUT, CLEAN, LOST_ANSWERS, QUIET, DoesNotApplyError, Mutant
from lab.analysis.consistency import INVARIANTS
from lab.chaos.experiment.loader import load_experiment
from lab.state import Entry, Lab
from lab.topology import PROJECT

ALL = [CLEAN, *MUTANTS.values()]
EXPERIMENTS = sorted({mutant.experiment for mutant in ALL})
LOAD_S_MAX = 60


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_once_and_compiles(mutant: Mutant) -> None:
    source = (PROJECT / "system" / mutant.file).read_text()
    mutated = mutant.applied(source)
    compile(mutated, mutant.file, "exec")
    assert (mutated == source) is (mutant is CLEAN)


def test_each_mutant_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len(MUTANTS) == sum(len(module.MUTANTS) for module in MODULES)
    assert [
        m.name for m in ALL if not (m.name.isidentifier() and m.description.endswith("."))
    ] == []


def test_every_class_has_several_mutants() -> None:
    per_class = Counter(mutant.kind for mutant in MUTANTS.values())
    assert len(per_class) >= 9
    assert min(per_class.values()) >= 3


def test_the_mutants_are_in_all_services() -> None:
    services = {Path(mutant.file).parts[1] for mutant in ALL if mutant.file.startswith("shop/")}
    assert services == {
        each.name for each in (PROJECT / "system/shop").iterdir() if (each / "app.py").is_file()
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_run_loads_the_shop_for_at_most_a_minute(experiment: str) -> None:
    path = PROJECT / experiment
    plan = load_experiment(str(path) if path.is_file() else experiment).plan
    assert plan.phases.total_s <= LOAD_S_MAX


def test_the_runs_of_the_table_ask_every_invariant() -> None:
    for experiment in (QUIET, LOST_ANSWERS):
        assert load_experiment(str(PROJECT / experiment)).plan.not_asked == {}


@pytest.mark.parametrize("old", ["no such text", "\n"])
def test_a_mutant_whose_text_does_not_occur_once_is_refused(old: str, tmp_path: Path) -> None:
    mutant = replace(CLEAN, old=old)
    path = tmp_path / mutant.file
    path.parent.mkdir(parents=True)
    path.write_text("one\ntwo\n")
    with pytest.raises(DoesNotApplyError, match="clean: its old text occurs"):
        mutant.plant(tmp_path)
    assert path.read_text() == "one\ntwo\n"


def test_the_copy_has_the_bug_and_the_checkout_does_not() -> None:
    mutant = MUTANTS["half_out_of_stock"]
    with planted(mutant) as copy:
        assert mutant.new in copy.mutated.read_text()
        import_of(copy, "shop.inventory.store")
        assert copy.witness.read_text().split(" ", 1)[1] == f"{copy.mutated}\n"
    assert not copy.root.exists()
    assert mutant.old in (PROJECT / "system" / mutant.file).read_text()


@pytest.mark.parametrize(
    ("witness", "ok"),
    [
        ("", False),
        ("{pid} /elsewhere/store.py\n", False),
        ("1 {mutated}\n", False),  # not a process of the lab
        ("{pid} {mutated}\n", True),
    ],
)
def test_a_lab_that_did_not_load_the_bug_is_refused(tmp_path: Path, witness: str, ok: bool) -> None:
    copy = Copy(tmp_path, tmp_path / "store.py", tmp_path / "loaded", 11_000)
    copy.witness.write_text(witness.format(pid=4711, mutated=copy.mutated))
    copy.home.mkdir(parents=True)
    empty: Any = dict.fromkeys(("topology", "token", "service_secret"), "")
    maps: Any = {name: {} for name in ("settings", "addresses", "stores")}
    zygote = [Entry("zygote", 4711, "")]
    Lab(11_000, str(copy.home), started_s=0.0, servers=zygote, **empty, **maps).save()
    with nullcontext() if ok else pytest.raises(NotLoadedError, match="expected"):
        copy.check_loaded()


def test_each_class_has_invariants_that_are_about_it() -> None:
    modules = {module_of(number) for number in INVARIANTS}
    for kind in {mutant.kind for mutant in MUTANTS.values()}:
        assert modules & set(ABOUT[kind]), kind


@pytest.mark.parametrize(
    ("verdict", "violated", "convicted", "by_chance"),
    [
        ("deviated", [1], True, False),  # money
        ("deviated", [3], False, True),  # stock
        ("deviated", [], False, True),  # a limit
        ("invalid", [1], False, False),
        ("held", [], False, False),
    ],
)
def test_a_bug_is_convicted_by_a_check_about_its_class_only(
    verdict: str, violated: list[int], convicted: bool, by_chance: bool
) -> None:
    row = Row("second_hold", "money", QUIET)
    found = [{"id": number, "name": "x", "status": "violated"} for number in violated]
    read_verdict(row, {"verdict": verdict, "invariants": found}, ["why"])
    assert (row.convicted, row.by_chance) == (convicted, by_chance)


def import_of(copy: Copy, module: str) -> None:
    paths = f"{copy.root / 'system'}:{copy.root}"
    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True)
