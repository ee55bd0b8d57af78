"""Checks that the values of a JSON object are there and have their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.archive import Run

Shape = Mapping[str, type]


def shape(**names: str) -> dict[str, type]:
    """Types by key, from one string of keys for each type: `shape(int="planned sent")`."""
    types: dict[str, type] = {
        **{"str": str, "int": int, "float": float, "bool": bool, "dict": dict, "list": list}
    }
    return {key: types[kind] for kind, keys in names.items() for key in keys.split()}


def misfits(where: str, content: object, expected: Shape) -> Iterator[str]:
    """A sentence for each key that is missing or has another type. A whole number is a float too."""
    if not isinstance(content, Mapping):
        yield f"{where} is missing"
        return
    for key, kind in expected.items():
        value = content.get(key)
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            yield f"{where}: {key} is missing or no {kind.__name__}"


def mapping(content: object) -> Mapping[str, Any]:
    """The content if it is an object, else an empty one."""
    return content if isinstance(content, Mapping) else {}


def mappings(content: object) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return (
        [each for each in content if isinstance(each, Mapping)] if isinstance(content, list) else []
    )


def unsteady(run: Run) -> bool:
    """Whether the toolkit ended before the method: the steady state was not met. Such a run is invalid."""
    before = mapping(mapping((run.journal or {}).get("steady_states")).get("before"))
    return before.get("steady_state_met") is False
