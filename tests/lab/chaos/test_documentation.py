"""docs/experiments.md lists every action and probe that an experiment file can use."""

import inspect
from types import ModuleType

import pytest

from lab.chaos import actions, dead_letters, edges, observers, probes
from lab.topology import PROJECT

DOCS = (PROJECT / "docs/experiments.md").read_text()


@pytest.mark.parametrize("module", [actions, dead_letters, edges, observers, probes])
def test_each_action_and_probe_is_documented(module: ModuleType) -> None:
    names = [
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and (configuration := inspect.signature(function).parameters.get("configuration"))
        and configuration.default is None  # Chaos Toolkit passes it
    ]
    assert names
    assert [name for name in names if f"`{name}" not in DOCS and f".{name}(" not in DOCS] == []
