"""A fault's scope: its keys, the points where each can be used, and the matching of exchanges."""

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from chassis.faults.fault import PROCESS, START, Exchange, FaultError, as_text, nearest

KEYS = {
    "route": str, "method": str, "caller": str, "callee": str, "failpoint": str, "arm": str,
    "version": str, "share": float, "first_n": int, "every_k": int,
}  # fmt: skip
COUNTED = ("share", "first_n", "every_k")
INSTANCE = ("arm", "version")  # on other instances the fault is armed and has no effect
AT = {
    "inbound": ("route", "method", "caller", "callee"),
    "outbound": ("route", "method", "caller", "callee"),
    "database": ("route", "method"),
    "publish": ("route",),
    "consume": ("route",),
    "cache": ("route", "method"),
    "registry": ("route", "method"),
    "failpoint": ("failpoint",),
}


@dataclass
class Scope:
    """`seen` counts the exchanges that matched, `hits` the chosen ones; shares are drawn from the fault's seed."""

    point: str
    keys: dict[str, Any]
    seen: int = 0
    hits: int = 0
    sticky: set[str] | None = (
        None  # keys of the chosen messages, for a fault that hits them at each delivery
    )

    def takes(self, exchange: Exchange, rng: Random) -> bool:
        """Whether this exchange is hit; counts it."""
        keys = self.keys
        if exchange.point != self.point or exchange.name != keys.get("failpoint", ""):
            return False
        for key in ("method", "caller", "callee"):
            if key in keys and keys[key] != getattr(exchange, key):
                return False
        if "route" in keys and not exchange.route.startswith(keys["route"]):
            return False
        if self.sticky is not None and exchange.key in self.sticky:
            return True
        self.seen += 1
        if self.hits >= keys.get("first_n", math.inf):
            return False
        if self.seen % keys.get("every_k", 1):
            return False
        if "share" in keys and rng.random() >= keys["share"]:
            return False
        self.hits += 1
        if self.sticky is not None:
            self.sticky.add(exchange.key)
        return True


def checked(keys: Any, point: str) -> dict[str, Any]:
    """The scope's keys, checked for the point. Raises FaultError."""
    if not isinstance(keys, dict):
        raise FaultError("scope: expected an object")
    keys = {key: as_text(value) if KEYS.get(key) is str else value for key, value in keys.items()}
    for key, value in keys.items():
        _check_type(key, value)
    if (point == "failpoint") != ("failpoint" in keys):
        raise FaultError(
            "the point failpoint requires scope.failpoint, its name; no other point accepts it"
        )
    usable = INSTANCE if point in (PROCESS, START) else (*AT[point], *COUNTED, *INSTANCE)
    for key in keys:
        if key not in usable:
            raise FaultError(f"scope.{key} has no meaning at {point}: use {', '.join(usable)}")
    if not 0 <= keys.get("share", 1) <= 1:
        raise FaultError(f"scope.share: expected 0 to 1, got {keys['share']!r}")
    for key in ("first_n", "every_k"):
        # in this form it refuses NaN too
        if key in keys and not (keys[key] >= 1 and keys[key] % 1 == 0):
            raise FaultError(
                f"scope.{key}: expected a whole number of 1 or more, got {keys[key]!r}"
            )
    return dict(keys)


def _check_type(key: str, value: Any) -> None:
    expected = KEYS.get(key)
    if expected is None:
        raise FaultError(f"scope: unknown key {key!r}{nearest(key, KEYS)}")
    if expected is str:
        if not isinstance(value, str):
            raise FaultError(f"scope.{key}: expected text, got {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultError(f"scope.{key}: expected a number, got {value!r}")
