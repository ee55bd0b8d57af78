"""What policies tell the outside: one event for each decision, with bounded, typed details."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(frozen_default=True)
def record(cls: type[C]) -> type[C]:
    """A dataclass that type checkers hold frozen; enforcing it in running code costs 5 x the time.

    One is made for each call of each listened-to breaker.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Kind = Literal[
    "evaluation",  # a breaker weighed its window: n, failures, slow
    "transition",  # previous -> state, because of reason
    "rejection",  # a call was turned away: reason
    "timeout",  # an attempt was cut off after duration_s
    "attempt",  # a retry is about to start: attempt, wait_s, reason
    "give_up",  # a failure will not be retried (again): attempt, reason
    "hedge",  # a second copy was started, or won: reason
    "fallback",  # a substitute answered: reason
    "limit",  # an adaptive limit moved: limit
    "ejection",  # a host was taken out for wait_s: host, reason
    "probation",  # an ejected host gets probes: host
    "readmission",  # a host is back: host
    "shed",  # a server dropped work: priority, reason
]


@record
class Event:
    """One decision of one policy.

    `at` is on the policy's clock (monotonic seconds); `edge` reads "caller->callee". Every other
    text comes from a small fixed set (states, reasons, error class names, host names), so each
    field may label a metric. Fields that mean nothing for a kind keep their default.
    """

    at: float
    edge: str
    policy: str
    kind: Kind
    state: str = ""
    previous: str = ""
    reason: str = ""
    n: int = 0
    failures: int = 0
    slow: int = 0
    attempt: int = 0
    priority: int = 0
    duration_s: float = 0.0
    wait_s: float = 0.0
    limit: float = 0.0
    host: str = ""


Listener = Callable[[Event], None]

_log = logging.getLogger(__name__)


def emit(listener: Listener, event: Event) -> None:
    """Hand `event` over; a listener that raises is logged and never hurts the call."""
    try:
        listener(event)
    except Exception:
        _log.exception("listener failed on %s %s of %s", event.policy, event.kind, event.edge)
