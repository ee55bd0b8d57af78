"""What a fault is: a kind, its attributes, and what it does to one exchange or to the whole process."""

import asyncio
import difflib
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import MISSING, dataclass, field, fields
from random import Random
from typing import Any, ClassVar, Protocol

# Where an exchange can be met. Each has a hook in the chassis, which gives `Exchange` its meaning there.
EXCHANGES = (
    "inbound", "outbound", "database", "publish", "consume", "cache", "registry", "failpoint",
)  # fmt: skip
START = "start"  # once, before the instance is ready
PROCESS = "process"  # not an exchange: the fault holds something from its beginning to its end
POINTS = (*EXCHANGES, START, PROCESS)
HTTP_AND_FAILPOINTS = ("inbound", "outbound", "failpoint")
DROPPED = object()  # what an exchange gives that a fault has swallowed


class FaultError(ValueError):
    """A fault cannot be added as asked; the message says what is expected."""


class FaultAborted(Exception):
    """The fault answers in place of the service."""

    def __init__(self, status: int, fault_id: str = "") -> None:
        super().__init__(f"aborted with {status}")
        self.status = status
        self.fault_id = fault_id


class Postponed(Exception):
    """The message shall come again after `delay_s`; others may overtake it."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"postponed by {delay_s:g} s")
        self.delay_s = delay_s


class AckLost(Exception):
    """The message was handled, and the broker shall not hear of it."""


class Poisoned(Exception):
    """Handling this message fails, however often it is tried."""


async def _cannot_fail(code: str) -> None:
    raise FaultError(f"nothing here fails with {code!r}")


@dataclass(slots=True)
class Exchange:
    """What passes the boundary, and the handles by which a fault may change it.

    point     route is                          method is
    inbound   path                              HTTP method
    outbound  path                              HTTP method
    database  the statement, in one line        its first word
    publish   subject (`events.OrderPlaced`)
    consume   subject
    cache     key                               GET, SET, LOCK or DELETE
    registry  instance                          HEARTBEAT or WATCH

    `key` is the same whenever the same message comes again. `headers` may be changed before it goes
    on, and `changes` are made to the payload or the answer. `fail(code)` raises what the other side
    would: `down`, or a SQLSTATE at the database.
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
    read_only: bool = False  # the database: what is executed may not write
    in_transaction: bool = False  # the database: it is not a transaction of its own

    def changed(self, content: bytes) -> bytes:
        for change in self.changes:
            content = change(content)
        return content


Act = Callable[[bool], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Proceed:
    """Called: does what would have happened without the fault; `discard` keeps the effect, loses the answer."""

    act: Act
    exchange: Exchange
    ended: asyncio.Event  # set when the fault is over

    async def __call__(self, discard: bool = False) -> Any:
        return await self.act(discard)


class Fault(Protocol):
    """A dataclass whose fields are its attributes.

    doc       one line for the catalogue, which names every attribute with its unit
    points    where it can be (default inbound, outbound, failpoint); the first is its usual place
    single    only one at a time (its undoing could not be told from another's)
    survives  is armed again when the process is started again before its TTL
    signed    attributes that may be negative
    """

    kind: ClassVar[str]
    doc: ClassVar[str]

    async def run(self, proceed: Proceed, rng: Random) -> Any: ...


class Standing(Protocol):
    """A fault of the whole process: in force while the context that `hold` gives is open.

    Leaving the context undoes it exactly. Raises FaultError where it cannot be put in force.
    """

    kind: ClassVar[str]
    doc: ClassVar[str]

    def hold(self, host: Any) -> AbstractAsyncContextManager[None]: ...


CATALOGUE: dict[str, Any] = {}


def register(fault: Any) -> None:
    """Put a fault's class into the catalogue under its kind."""
    CATALOGUE[fault.kind] = fault


def points_of(fault: Any) -> tuple[str, ...]:
    """Where this fault, or class of faults, can be."""
    points: tuple[str, ...] = getattr(fault, "points", HTTP_AND_FAILPOINTS)
    return points


def build(kind: str, attributes: dict[str, Any]) -> Any:
    """A checked fault: known kind, known attributes, finite numbers of 0 or more unless signed."""
    make = CATALOGUE.get(kind)
    if make is None:
        raise FaultError(f"unknown fault {kind!r}{nearest(kind, CATALOGUE)}")
    known = {each.name: each for each in fields(make) if each.init}
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


def as_text(value: Any) -> Any:
    """A whole number where text is meant (sqlstate: 40001, version: 2), as YAML and shells read it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check(label: str, value: Any, wanted: Any, make: Any, name: str) -> None:
    if wanted is str or wanted == "str":
        if not isinstance(value, str):
            raise FaultError(f"{label}: expected text, got {value!r}")
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultError(f"{label}: expected a number, got {value!r}")
    if not math.isfinite(value):
        raise FaultError(f"{label}: expected a finite number, got {value!r}")
    if value < 0 and name not in getattr(make, "signed", ()):
        raise FaultError(f"{label}: expected a number of 0 or more, got {value!r}")
    if (wanted is int or wanted == "int") and value != int(value):
        raise FaultError(f"{label}: expected a whole number, got {value!r}")


def nearest(word: str, known: Collection[str]) -> str:
    """`; did you mean 'latency'?`, else `: expected one of ...`, to end an error message with."""
    close = difflib.get_close_matches(word, list(known), 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f": expected one of {', '.join(sorted(known)) or 'none'}"
