"""docs/faults.md is the output of `lab faults list --doc`, and describes every fault and failpoint of the code."""

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from chassis.faults import CATALOGUE, REGISTERED
from chassis.faults.catalogue import AT_POINT
from chassis.faults.fault import POINTS, build, fields_of
from chassis.faults.scope import checked
from lab import cli
from lab.commands.faults import _pairs
from lab.fault_kinds import failpoints
from lab.fault_kinds.edges import KINDS as EDGE_KINDS
from lab.fault_kinds.examples import EXAMPLES
from lab.fault_kinds.processes import KINDS
from lab.proxy.toxics import REGISTRY as TOXICS
from lab.topology import PROJECT
from shop.bank.domain import Kind
from shop.orders.saga import SAGAS
from shop.payments.domain import Operation
from tests.docs.measured_by import MEASURED_BY

ROOT = PROJECT
PAGE = (ROOT / "docs" / "faults.md").read_text()
IN_SERVICES, ON_EDGES = PAGE.split("## Faults of edges")
ROWS = dict(re.findall(r"^\| `(\w+)` \|(.*)$", IN_SERVICES, flags=re.MULTILINE))
FOLDER = ROOT / "system" / "chassis" / "faults"


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["faults", "list", "--doc"]) == 0
    printed = capsys.readouterr().out
    assert printed == PAGE, "write it again: lab faults list --doc > docs/faults.md"


@pytest.mark.parametrize("kind", CATALOGUE)
def test_a_fault_is_documented_with_its_attributes_and_points(kind: str) -> None:
    make = CATALOGUE[kind]
    for attribute in fields_of(make):
        if attribute.init:
            assert f"`{attribute.name}`" in ROWS[kind]
            # its meaning too, not only its name and default
            assert re.search(rf"\b{attribute.name}\b", make.doc), attribute.name
    for point in make.points:
        assert point in ROWS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_of_processes_is_documented_with_its_end(kind: str) -> None:
    assert KINDS[kind].doc in ROWS[kind]
    assert ("at its TTL" in ROWS[kind]) == KINDS[kind].lasts


@pytest.mark.parametrize("kind", EDGE_KINDS)
def test_a_fault_of_edges_is_documented_with_its_attributes(kind: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", ON_EDGES, flags=re.MULTILINE))
    for attribute in EDGE_KINDS[kind].attributes:
        assert f"`{attribute}`" in rows[kind]
    assert EDGE_KINDS[kind].doc in rows[kind]


def test_every_toxic_can_be_had_on_an_edge() -> None:
    assert {kind.toxic for kind in EDGE_KINDS.values()} - {""} == set(TOXICS)


def test_every_point_is_explained() -> None:
    assert tuple(AT_POINT) == POINTS


def test_a_kind_is_the_name_of_its_file() -> None:
    for make in REGISTERED:
        assert Path(inspect.getfile(make)).stem == make.kind


def assert_accepted(target: str, kind: str, words: list[str]) -> None:
    """Checks `lab faults add TARGET KIND WORDS...` as far as possible without a lab."""
    attributes: dict[str, Any] = {}
    options: dict[str, list[str]] = {"--scope": [], "--point": [], "--ttl": []}
    words = list(words)
    while words:
        word = words.pop(0)
        if word in options:
            options[word].append(words.pop(0))
        else:
            attributes |= _pairs([word], "attribute")
    if "->" in target:
        known = EDGE_KINDS[kind]
        assert attributes.keys() <= known.attributes.keys()
        assert set(known.required) <= attributes.keys()
    elif kind in KINDS:
        assert attributes.keys() == KINDS[kind].attributes.keys()
        assert not options["--scope"]
        assert KINDS[kind].lasts or not options["--ttl"]
    else:
        fault = build(kind, attributes)
        point = [*options["--point"], fault.points[0]][0]
        assert point in fault.points
        scope = checked(_pairs(options["--scope"], "scope"), point)
        assert scope.get("failpoint", "") in {"", *NAMES}


def test_the_pages_examples_would_be_accepted() -> None:
    examples = re.findall(r"^lab faults add (.*)$", PAGE, flags=re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        assert_accepted(*_split(example))


@pytest.mark.parametrize("fault", EXAMPLES)
def test_an_example_would_be_accepted_and_is_measured_by_a_test(fault: str) -> None:
    assert_accepted(*_split(EXAMPLES[fault]))
    file, function = MEASURED_BY[fault]
    assert f"def {function}(" in (ROOT / "tests" / file).read_text()


def test_every_kind_has_an_example() -> None:
    shown = {_split(command)[1] for command in EXAMPLES.values()}
    without = {*CATALOGUE, *KINDS, *EDGE_KINDS} - shown - {"noop"}
    assert not without, "add them to lab/fault_kinds/examples.toml and tests/docs/measured_by.py"
    assert len(EXAMPLES) >= 30
    assert MEASURED_BY.keys() == EXAMPLES.keys()


FAILPOINTS = failpoints.failpoints()
NAMES = {name for each in FAILPOINTS for name in each.names}


def test_every_failpoint_of_the_code_is_on_the_page() -> None:
    found = {each.template for each in FAILPOINTS}
    assert found == failpoints.DESCRIPTIONS.keys(), "describe it in lab/fault_kinds/failpoints.py"
    assert len(NAMES) >= 20
    for name in NAMES:
        assert f"`{name}`" in PAGE


def test_the_variable_parts_of_failpoints_have_the_values_of_the_code() -> None:
    assert set(failpoints.STEPS) == {step.name for saga in SAGAS.values() for step in saga}
    assert set(failpoints.BANK_CALLS) == {each.value for each in Operation}
    _, moves = failpoints.DESCRIPTIONS["bank.before_{kind}_commit"]
    assert set(moves) == {each.value for each in Kind} - {"authorize"}


def test_every_failpoint_that_a_page_or_an_experiment_names_is_in_the_code() -> None:
    files = [*ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.yaml"), ROOT / "README.md"]
    named = {
        name
        for file in files
        for name in re.findall(r"failpoint(?:=|: *)([a-z]\w*[.\w]+)", file.read_text())
    }
    assert named
    assert named <= NAMES


def _split(command: str) -> tuple[str, str, list[str]]:
    target, kind, *words = shlex.split(command)
    return target, kind, words


def test_the_guides_example_is_noop_as_it_is() -> None:
    guide = (ROOT / "docs" / "adding_a_fault.md").read_text()
    block = re.search(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert block is not None
    source = (FOLDER / "noop.py").read_text()
    for line in block[1].splitlines():
        assert line.strip() in source
