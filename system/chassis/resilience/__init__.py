"""Resilience policies: one a file, one interface, freely composed, time and chance passed in."""

from chassis.resilience.breaker import Breaker, State
from chassis.resilience.budget import RetryBudget
from chassis.resilience.clock import SYSTEM_CLOCK, Clock, FakeClock, SystemClock
from chassis.resilience.errors import (
    BreakerOpen,
    BulkheadFull,
    CallError,
    CallFailed,
    DeadlineExceeded,
    LimitReached,
    RateLimited,
    Rejected,
    Shed,
    Throttled,
    TimedOut,
)
from chassis.resilience.events import Event, Listener
from chassis.resilience.policy import Attempt, Call, Chain, Policy, Switchable, compose
from chassis.resilience.retry import Retry
from chassis.resilience.timeout import Timeout

__all__ = [
    "SYSTEM_CLOCK",
    "Attempt",
    "Breaker",
    "BreakerOpen",
    "BulkheadFull",
    "Call",
    "CallError",
    "CallFailed",
    "Chain",
    "Clock",
    "DeadlineExceeded",
    "Event",
    "FakeClock",
    "LimitReached",
    "Listener",
    "Policy",
    "RateLimited",
    "Rejected",
    "Retry",
    "RetryBudget",
    "Shed",
    "State",
    "Switchable",
    "SystemClock",
    "Throttled",
    "TimedOut",
    "Timeout",
    "compose",
]
