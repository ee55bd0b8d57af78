"""`python -m tests.docs.actions_page`: docs/actions_and_probes.md, from signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

# section -> module of lab.chaos -> its functions there; none named: all of the module
SECTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Actions": {"actions": (), "edges": (), "observers": (), "dead_letters": ("redrive",)},
    "Probes": {"probes": (), "dead_letters": ("dead_letters", "dead_letters_become")},
}
HEAD = """\
# Actions and probes

Generated from the code by `python -m tests.docs.actions_page > docs/actions_and_probes.md`. An experiment names
a function by its module and its name: `provider: {type: python, module: lab.chaos.probes, func: all_ready}`.
The Chaos Toolkit passes the argument `configuration` to each; its `port_base` selects the lab.

A fault in a service ends at its TTL in the service itself, a fault of a process in the lab's supervisor, a
fault of an edge in the fault proxy. `kill -9` of `chaos` or of `lab run` does not change that. A probe that
cannot measure fails.
"""


def functions(module: str) -> list[Callable[..., Any]]:
    """The actions and probes of a module: its public functions with `configuration`, in the source's order."""
    loaded = import_module(f"lab.chaos.{module}")
    return [
        each
        for name, each in vars(loaded).items()
        if inspect.isfunction(each)
        and each.__module__ == loaded.__name__
        and not name.startswith("_")
        and _is_optional(each, "configuration")
    ]


def page() -> str:
    return "\n".join([HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(title: str) -> Iterator[str]:
    yield f"## {title}"
    for module, names in SECTIONS[title].items():
        yield f"### `lab.chaos.{module}`"
        for each in functions(module):
            if not names or each.__name__ in names:
                yield f"- **`{_call(each)}`**: {_sentences(each)}"
        yield ""


def _call(function: Callable[..., Any]) -> str:
    """Name and arguments with their defaults."""
    arguments = [
        name if each.default is each.empty else f"{name}={each.default!r}"
        for name, each in inspect.signature(function).parameters.items()
        if name != "configuration"
    ]
    return f"{function.__name__}({', '.join(arguments)})"


def _sentences(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").split())


def _is_optional(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    return name in parameters and parameters[name].default is None


if __name__ == "__main__":
    print(page(), end="")
