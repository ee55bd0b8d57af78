"""The names of the services' settings, found in their source, and the values that some accept."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache

from chassis.resilience.profile import PROFILES
from lab.topology import PROJECT

OF_LIBRARIES = ("OTEL_", "PYTHON")
_NAME = re.compile(r'"([A-Z][A-Z0-9_]{2,})"')
_PATTERN = re.compile(r'f"([A-Z][A-Z0-9_]*_)\{[^"{}]+\}([A-Z0-9_]*)"')
_SWITCH = re.compile(r'(?:_guard\(env, |switch\()"([A-Z_]+)"')
_NUMBER = re.compile(r'number\(\s*"([A-Z0-9_]+)"')


@cache
def _source() -> str:
    return "\n".join(each.read_text() for each in sorted((PROJECT / "system").rglob("*.py")))


@cache
def names() -> frozenset[str]:
    """Every name in capitals in the services' source: more than the settings, but none is missing."""
    return frozenset(_NAME.findall(_source()))


def is_known(name: str) -> bool:
    """Whether a service reads this setting, also one whose name is made, such as DEADLINE_LOGIN_S."""
    return (
        name in names()
        or name.startswith(OF_LIBRARIES)
        or any(
            name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end)
            for start, end in _PATTERN.findall(_source())
        )
    )


def problem(name: str, value: str) -> str:
    """What is wrong with the value of a setting, "" if nothing is known to be."""
    return next(_problems(name, value), "")


def _problems(name: str, value: str) -> Iterator[str]:
    if name == "RESILIENCE" and value not in PROFILES:
        yield f"expected one of {', '.join(PROFILES)}"
    if name in _SWITCH.findall(_source()) and value not in ("on", "off"):
        yield "expected on or off"
    if name in _NUMBER.findall(_source()):
        try:
            if not math.isfinite(float(value)):
                yield "expected a finite number"
        except ValueError:
            yield "expected a number"
