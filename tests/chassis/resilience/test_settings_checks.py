"""Each numeric setting of each public class refuses NaN and infinity with an error that names it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest

import chassis.resilience

REQUIRED = {"edge": "a->b", "name": "a", "rate_per_s": 1.0, "seconds": 1.0}


def numeric_settings() -> Iterator[tuple[type, str]]:
    for name in sorted(chassis.resilience.__all__):
        thing = getattr(chassis.resilience, name)
        if not inspect.isclass(thing) or issubclass(thing, BaseException | tuple):
            continue
        if thing.__module__.rpartition(".")[2] in ("events", "clock", "policy"):
            continue  # records and clocks: no settings
        for parameter in inspect.signature(thing).parameters.values():
            if str(parameter.annotation).split(" | ")[0] in ("float", "int"):
                yield thing, parameter.name


SETTINGS = list(numeric_settings())


def make(kind: type, **settings: Any) -> Any:
    wanted = inspect.signature(kind).parameters.values()
    given = {each.name: REQUIRED[each.name] for each in wanted if each.default is each.empty}
    return kind(**(given | settings))


def test_the_settings_are_found() -> None:
    assert len(SETTINGS) > 40
    assert {"RateLimiter", "Breaker", "Timeout"} <= {kind.__name__ for kind, _ in SETTINGS}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "name"), SETTINGS, ids=lambda each: getattr(each, "__name__", each)
)
def test_a_setting_that_is_not_finite_is_refused_by_name(
    kind: type, name: str, value: float
) -> None:
    with pytest.raises(ValueError, match=rf"{name}\b|limits"):
        make(kind, **{name: value})
