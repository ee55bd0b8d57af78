"""docs/resilience.md has a section for each policy: its use in the shop, its settings and their defaults."""

import inspect
import math
import re
from typing import Any

import pytest

import chassis.resilience
from chassis.edge_policies.configuration import FALLBACK, OUTLIER, SHED, read_tables
from chassis.resilience import LoadShedder, OutlierEjection, StaleFallback, build
from chassis.resilience.profile import DEFAULTS, KINDS
from chassis.resilience.settings import SETTINGS
from lab.topology import PROJECT

PAGE = (PROJECT / "docs" / "resilience.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
UNUSED_MARK = "For library use; no edge of the shop uses it."
BESIDE_CHAIN = {OUTLIER: OutlierEjection, FALLBACK: StaleFallback, SHED: LoadShedder}
NOT_SETTINGS = {"self", "edge", "name", "on", "clock", "listener"}


def text_of(value: Any) -> str:
    """A setting's value as the page shows it."""
    if value is None or value == math.inf:
        return "none"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def default_in_chain(kind: str, name: str) -> str:
    """The value of a setting for a kind that a configuration only switches on."""
    chain = build("a->b", {kind: True})
    policy: Any = chain.budgets[0] if kind == "budget" else chain.get(kind)
    if kind == "adaptive_limit":
        algorithm = policy.algorithm
        own = {"algorithm": type(algorithm).__name__.lower(), "initial": algorithm.limit}
        return text_of(own.get(name) or getattr(algorithm, name))
    return text_of(policy.deposit_share if name == "deposit" else getattr(policy, name))


def expected_rows(kind: str) -> dict[str, tuple[str, str]]:
    """By setting: its default, and its value in [default] of resilience.toml, "-" without one."""
    shop = read_tables()["default"].get(kind) or {}
    if kind in SETTINGS:
        defaults = {name: default_in_chain(kind, name) for name in SETTINGS[kind]}
    else:
        parameters = inspect.signature(BESIDE_CHAIN[kind]).parameters
        defaults = {
            name: ", ".join(map(text_of, each.default))
            if name == "shares"
            else text_of(each.default)
            for name, each in parameters.items()
            if name not in NOT_SETTINGS
        }
    return {
        name: (default, text_of(shop[name]) if name in shop else "-")
        for name, default in defaults.items()
    }


def used_by_an_edge(kind: str) -> bool:
    tables = read_tables().values()
    return kind in DEFAULTS or any(table.get(kind, False) is not False for table in tables)


def test_each_policy_has_a_section() -> None:
    assert set(SECTIONS) == {*KINDS, *BESIDE_CHAIN}


@pytest.mark.parametrize("kind", [*KINDS, *BESIDE_CHAIN])
def test_the_settings_of_a_policy_are_documented_with_their_defaults(kind: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", SECTIONS[kind], re.M)
    assert {name: (default, shop) for name, _, default, shop in rows} == expected_rows(kind)
    for name, meaning, _, _ in rows:
        if kind in SETTINGS:
            assert meaning == SETTINGS[kind][name].meaning


@pytest.mark.parametrize("kind", [*KINDS, *BESIDE_CHAIN])
def test_a_policy_is_marked_for_library_use_if_no_edge_uses_it(kind: str) -> None:
    assert (UNUSED_MARK in SECTIONS[kind]) is not used_by_an_edge(kind)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not used_by_an_edge(kind)])
def test_a_policy_for_library_use_has_a_two_line_example_that_runs(kind: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", SECTIONS[kind], re.DOTALL)
    assert len(example.splitlines()) == 2
    names: dict[str, Any] = {**vars(chassis.resilience)}
    exec(example, names)
    assert names["policy"].kind == kind
