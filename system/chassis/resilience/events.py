"""The events of policies: one for each decision, with typed details. A listener receives them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(frozen_default=True)
def record(cls: type[C]) -> type[C]:
    """A dataclass that type checkers treat as frozen. Enforcing that at run time takes 5 times as long.

    Each call of a breaker with a listener creates one.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Kind = Literal[
    "evaluation",  # a breaker evaluated its window: n, failures, slow
    "transition",  # previous -> state, because of reason
    "rejection",  # a call was rejected: reason
    "timeout",  # an attempt was cancelled after duration_s
    "attempt",  # a retry is about to start: attempt, wait_s, reason
    "give_up",  # a failure is not retried, or not again: attempt, reason
    "hedge",  # another copy was started, or was first: reason
    "fallback",  # a substitute answered: reason
    "limit",  # an adaptive limit changed: limit
    "ejection",  # a host was ejected for wait_s: host, reason
    "probation",  # an ejected host gets trial calls: host
    "readmission",  # a host is used again: host
    "shed",  # a server dropped work: priority, reason
]


@record
class Event:
    """One decision of one policy.

    `at` is on the policy's clock (monotonic seconds). `edge` is "caller->callee". All other texts
    have a small fixed set of values (states, reasons, names of errors and hosts), so that each may
    label a metric. Fields that do not apply to a kind keep their default.
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
    """Pass `event` to the listener. If the listener raises, that is logged and the call continues."""
    try:
        listener(event)
    except Exception:
        _log.exception("listener failed on %s %s of %s", event.policy, event.kind, event.edge)
