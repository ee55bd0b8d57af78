"""The base class of faults, the exchange that a fault changes, and the catalogue of all kinds."""

import asyncio
import difflib
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import MISSING, Field, dataclass, field, fields
from random import Random
from typing import Any, ClassVar

from chassis.faults.host import Holding

# The points of exchanges. Each has a hook in the chassis; `Exchange` describes its fields there.
EXCHANGES = (
    "inbound", "outbound", "database", "publish", "consume", "cache", "registry", "failpoint",
)  # fmt: skip
START = "start"  # once, before the instance is ready
PROCESS = "process"  # not an exchange: the fault changes the process from its beginning to its end
POINTS = (*EXCHANGES, START, PROCESS)
HTTP_AND_FAILPOINTS = ("inbound", "outbound", "failpoint")
DROPPED = object()  # the result of an exchange that a fault has dropped


class FaultError(ValueError):
    """The fault is refused; the message gives the expected values."""


class FaultAbortedError(Exception):
    """The fault answers in place of the service."""

    def __init__(self, status: int, fault_id: str = "") -> None:
        super().__init__(f"aborted with {status}")
        self.status = status
        self.fault_id = fault_id


class PostponedError(Exception):
    """The message must be delivered again after `delay_s`; others may overtake it."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"postponed by {delay_s:g} s")
        self.delay_s = delay_s


class AckLostError(Exception):
    """The message was handled and must not be acknowledged."""


class PoisonedError(Exception):
    """Handling this message fails at each delivery."""


async def _cannot_fail(code: str) -> None:
    raise FaultError(f"no operation here fails with {code!r}")


@dataclass(slots=True)
class Exchange:
    """One operation at a point, and what a fault may change of it.

    point     route is                          method is
    inbound   path                              HTTP method
    outbound  path                              HTTP method
    database  the statement, in one line        its first word
    publish   subject (`events.OrderPlaced`)
    consume   subject
    cache     key                               GET, SET, LOCK or DELETE
    registry  instance                          HEARTBEAT or WATCH

    `key` is the same at each delivery of a message. `headers` may be changed before they are sent, and `changes`
    are applied to the payload or the answer. `fail(code)` raises the other side's error: `down`, or a SQLSTATE at
    the database.
    """

    point: str
    method: str = ""
    route: str = ""
    caller: str = ""
    callee: str = ""
    name: str = ""
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    changes: list[Callable[[bytes], bytes]] = field(default_factory=list)
    fail: Callable[[str], Awaitable[None]] = _cannot_fail
    read_only: bool = False  # the database: the statement must not write
    in_transaction: bool = False  # the database: the statement is part of a transaction

    def changed(self, content: bytes) -> bytes:
        for change in self.changes:
            content = change(content)
        return content


Act = Callable[[bool], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Proceed:
    """Called: does the operation as without the fault; with `discard` it is done and its answer is lost."""

    act: Act
    exchange: Exchange
    ended: asyncio.Event  # set when the fault is over

    async def __call__(self, discard: bool = False) -> Any:
        return await self.act(discard)


class Fault:
    """A fault is a frozen dataclass whose fields are its attributes. It implements `run`, `hold` or both."""

    kind: ClassVar[str]
    doc: ClassVar[str]  # one line for the catalogue, which names every attribute with its unit
    points: ClassVar[tuple[str, ...]] = (
        HTTP_AND_FAILPOINTS  # where it can be; the first is the default
    )
    single: ClassVar[bool] = False  # only one at a time, because two could not be removed apart
    survives: ClassVar[bool] = False  # armed again when the process starts again before its TTL
    sticky: ClassVar[bool] = False  # a chosen message is chosen at each delivery
    needs_any: ClassVar[tuple[str, ...]] = ()  # scope keys, one of which is required
    signed: ClassVar[tuple[str, ...]] = ()  # attributes that may be negative

    async def run(self, proceed: Proceed, rng: Random) -> Any:
        """Around one exchange. `rng` comes from the fault's seed."""
        raise NotImplementedError(f"{self.kind} has no effect on exchanges")

    def hold(self, holding: Holding) -> AbstractAsyncContextManager[None]:
        """For the whole process, at the point `process`: active while the context is open.

        Leaving the context removes it exactly. Raises FaultError where it cannot be applied.
        """
        raise NotImplementedError(f"{self.kind} has no effect on the whole process")


CATALOGUE: dict[str, type[Fault]] = {}


def register(fault: type[Fault]) -> None:
    """Adds a fault's class to the catalogue under its kind."""
    CATALOGUE[fault.kind] = fault


def build(kind: str, attributes: dict[str, Any]) -> Fault:
    """Raises FaultError for unknown names, and for numbers that are not finite, or negative unless `signed`."""
    make = CATALOGUE.get(kind)
    if make is None:
        raise FaultError(f"unknown fault {kind!r}{nearest(kind, CATALOGUE)}")
    known = {each.name: each for each in fields_of(make) if each.init}
    for name in attributes:
        if name not in known:
            raise FaultError(f"{kind}: unknown attribute {name!r}{nearest(name, known)}")
    attributes = dict(attributes)
    for name, each in known.items():
        if name in attributes:
            if each.type in (str, "str"):
                attributes[name] = as_text(attributes[name])
            _check(f"{kind}.{name}", attributes[name], each.type, make, name)
        elif each.default is MISSING:
            raise FaultError(f"{kind}: attribute {name!r} is required")
    return make(**attributes)


def fields_of(make: type[Fault]) -> tuple[Field[Any], ...]:
    """The attributes of a kind."""
    return fields(make)  # type: ignore[arg-type] # each kind is a dataclass, the base is none


def as_text(value: Any) -> Any:
    """Converts a whole number to text: YAML and shells read `sqlstate: 40001` and `version: 2` as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check(label: str, value: Any, wanted: Any, make: type[Fault], name: str) -> None:
    if wanted is str or wanted == "str":
        if not isinstance(value, str):
            raise FaultError(f"{label}: expected text, got {value!r}")
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultError(f"{label}: expected a number, got {value!r}")
    if not math.isfinite(value):
        raise FaultError(f"{label}: expected a finite number, got {value!r}")
    if value < 0 and name not in make.signed:
        raise FaultError(f"{label}: expected a number of 0 or more, got {value!r}")
    if (wanted is int or wanted == "int") and value != int(value):
        raise FaultError(f"{label}: expected a whole number, got {value!r}")


def nearest(word: str, known: Collection[str]) -> str:
    """The end of an error message: `; did you mean 'latency'?`, else `: expected one of ...`."""
    close = difflib.get_close_matches(word, list(known), 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f": expected one of {', '.join(sorted(known)) or 'none'}"
