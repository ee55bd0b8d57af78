"""What a fault is: a kind, its attributes, and what it does around one exchange."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import MISSING, dataclass, fields
from random import Random
from typing import Any, ClassVar, Protocol


class FaultError(ValueError):
    """A fault cannot be added as asked; the message says what is expected."""


class FaultAborted(Exception):
    """The fault answers in place of the service."""

    def __init__(self, status: int, fault_id: str = "") -> None:
        super().__init__(f"aborted with {status}")
        self.status = status
        self.fault_id = fault_id


@dataclass(frozen=True, slots=True)
class Exchange:
    """What passes the boundary: a request in, a request out, or a named failpoint."""

    point: str
    method: str = ""
    route: str = ""
    caller: str = ""
    callee: str = ""
    name: str = ""


class Proceed(Protocol):
    """Do what would have happened without the fault; `discard` keeps the effect, loses the answer."""

    def __call__(self, discard: bool = False) -> Awaitable[Any]: ...


class Fault(Protocol):
    """A dataclass whose fields are its attributes; `doc` is one line for the catalogue."""

    kind: ClassVar[str]
    doc: ClassVar[str]

    async def run(self, proceed: Proceed, rng: Random) -> Any: ...


CATALOGUE: dict[str, Callable[..., Fault]] = {}


def register(fault: Any) -> None:
    """Put a fault's class into the catalogue under its kind."""
    CATALOGUE[fault.kind] = fault


def build(kind: str, attributes: dict[str, Any]) -> Fault:
    """A checked fault: known kind, known attributes, finite non-negative numbers."""
    make: Any = CATALOGUE.get(kind)
    if make is None:
        raise FaultError(f"unknown fault {kind!r}: expected one of {', '.join(sorted(CATALOGUE))}")
    known = {field.name: field for field in fields(make)}
    unknown = sorted(set(attributes) - set(known))
    if unknown:
        expected = ", ".join(known) or "none"
        raise FaultError(f"{kind}: unknown attribute {unknown[0]!r}; expected: {expected}")
    for name, field in known.items():
        if name not in attributes:
            if field.default is MISSING:
                raise FaultError(f"{kind}: attribute {name!r} is required")
            continue
        value = attributes[name]
        if field.type is str or field.type == "str":
            if not isinstance(value, str):
                raise FaultError(f"{kind}.{name}: expected text, got {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise FaultError(f"{kind}.{name}: expected a number, got {value!r}")
        elif not math.isfinite(value) or value < 0:
            raise FaultError(f"{kind}.{name}: expected a number of 0 or more, got {value!r}")
    fault: Fault = make(**attributes)
    return fault
