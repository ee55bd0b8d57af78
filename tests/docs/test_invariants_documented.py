"""docs/invariants.md has each invariant of the code, with its time, its data and its planted bugs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.mutants_table import MUTANTS as BENCH
from lab.analysis.consistency.checks import INVARIANTS
from tests.lab.analysis.planted import PLANTED

PAGE = (Path(__file__).parents[2] / "docs" / "invariants.md").read_text()
SECTIONS = {
    int(number): (name, text)
    for number, name, text in re.findall(
        r"^## (\d+)\. (.+)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE
    )
}


def test_the_page_has_the_sentences_of_the_code() -> None:
    documented = {number: name for number, (name, _) in SECTIONS.items()}
    assert documented == {each.id: each.name for each in INVARIANTS.values()}


@pytest.mark.parametrize("number", INVARIANTS)
def test_the_page_has_when_an_invariant_holds_and_its_data(number: int) -> None:
    _, text = SECTIONS[number]
    when, data = text.splitlines()[0].split(" Data: ")
    assert when.strip("*.").lower() == INVARIANTS[number].when
    needed = re.findall(r"`(\w+\.\w+)`", data.split("; also")[0])
    assert tuple(needed) == INVARIANTS[number].needs


@pytest.mark.parametrize("number", INVARIANTS)
def test_the_page_has_the_planted_bugs_of_an_invariant(number: int) -> None:
    _, text = SECTIONS[number]
    [line] = [line for line in text.splitlines() if line.startswith("Planted bug")]
    if "`bench/mutants.py`" in line:  # bugs in answers are planted in the shop itself
        named = set(re.findall(r"`(\w+)`", line))
        assert named
        assert named <= set(BENCH)
        return
    planted = {name for name, bug in PLANTED.items() if bug.invariant == number}
    assert set(re.findall(r"`(\w+)`", line)) == planted
