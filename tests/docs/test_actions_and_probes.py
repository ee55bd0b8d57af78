"""docs/actions_and_probes.md is generated from the code, and has every action and probe."""

import pkgutil

import pytest

import lab.chaos
from lab.topology import PROJECT
from tests.docs import actions_page

PAGE = (PROJECT / "docs" / "actions_and_probes.md").read_text()
MODULES = [
    each.name
    for each in pkgutil.iter_modules(lab.chaos.__path__)
    if not each.ispkg and each.name != "controls"  # its functions are the toolkit's controls
]


def test_the_page_is_the_output_of_its_command() -> None:
    command = "python -m tests.docs.actions_page > docs/actions_and_probes.md"
    assert actions_page.page() == PAGE, f"write it again: {command}"


@pytest.mark.parametrize("module", MODULES)
def test_every_function_that_an_experiment_can_name_is_on_the_page_once(module: str) -> None:
    section = PAGE.split(f"### `lab.chaos.{module}`")[1:]
    shown = [line for part in section for line in part.split("#")[0].splitlines()]
    for function in actions_page.functions(module):
        assert sum(line.startswith(f"- **`{function.__name__}(") for line in shown) == 1
        assert function.__doc__, function.__name__


def test_the_known_actions_and_probes_are_found() -> None:
    found = {each.__name__ for module in MODULES for each in actions_page.functions(module)}
    assert {"add_fault", "kill_instance", "outage", "partition", "blind", "redrive"} <= found
    assert {"place_order", "breaker_becomes", "faults_end", "dead_letters_become"} <= found
    assert len(found) >= 35
