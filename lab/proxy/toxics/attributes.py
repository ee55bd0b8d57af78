"""Declares, reads and shows a toxic's attributes, all from one dataclass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lab.proxy.api.json_fields import Fields
from lab.proxy.deviations import Deviations
from lab.proxy.errors import BadRequestBodyError


def integer(*, ours: bool = False) -> Any:
    """A whole number >= 0, default 0; `ours`: Toxiproxy does not have this attribute."""
    return dataclasses.field(default=0, metadata={"read": "integer", "ours": ours})


def probability(default: float) -> Any:
    """A number in [0, 1]."""
    return dataclasses.field(default=default, metadata={"read": "number", "high": 1.0})


def choice(words: Sequence[str]) -> Any:
    """One of `words`, default the first; Toxiproxy has no such attribute."""
    return dataclasses.field(
        default=words[0], metadata={"read": "text", "words": tuple(words), "ours": True}
    )


def read(current: Any, given: Fields, deviations: Deviations) -> Any:
    """Returns `current` with the given attributes changed; raises BadRequestBodyError."""
    changes: dict[str, Any] = {}
    for field in _fields(current, deviations):
        if field.name in given:
            value = getattr(given, field.metadata["read"])(field.name, field.default)
            if deviations.attributes_are_checked:
                _check(field, value)
            changes[field.name] = value
    return dataclasses.replace(current, **changes)


def show(current: Any, deviations: Deviations) -> dict[str, Any]:
    """The attributes for an answer, without our own ones that have their default."""
    return {
        field.name: getattr(current, field.name)
        for field in _fields(current, deviations)
        if not field.metadata.get("ours") or getattr(current, field.name) != field.default
    }


def unknown(current: Any, given: Fields) -> list[str]:
    """Given attributes that this toxic does not have, probably misspelt."""
    return sorted(given.names() - {field.name for field in dataclasses.fields(current)})


def _fields(current: Any, deviations: Deviations) -> list[dataclasses.Field[Any]]:
    return [
        field
        for field in dataclasses.fields(current)
        if deviations.extras or not field.metadata.get("ours")
    ]


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    words = field.metadata.get("words")
    if words is not None:
        if value not in words:
            raise BadRequestBodyError(f"attributes.{field.name} must be one of {', '.join(words)}")
        return
    high = field.metadata.get("high")
    if value < 0:
        raise BadRequestBodyError(f"attributes.{field.name} must not be negative")
    if high is not None and value > high:
        raise BadRequestBodyError(f"attributes.{field.name} must be at most {high:g}")
