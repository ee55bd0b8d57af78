"""Resilience policies: one a file, one interface, freely composed, time and chance passed in."""

from chassis.resilience.adaptive_limit import AdaptiveLimit
from chassis.resilience.breaker import Breaker, State
from chassis.resilience.budget import RetryBudget
from chassis.resilience.bulkhead import Bulkhead
from chassis.resilience.clock import SYSTEM_CLOCK, Clock, FakeClock, SystemClock
from chassis.resilience.consecutive import ConsecutiveBreaker
from chassis.resilience.deadline import BUDGET_HEADER, from_header, sooner, to_header
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
from chassis.resilience.events import Event, Kind, Listener
from chassis.resilience.fallback import Fallback, StaleFallback
from chassis.resilience.hedge import Hedge
from chassis.resilience.limits import Aimd, Gradient2, Limit
from chassis.resilience.outlier import OutlierEjection
from chassis.resilience.policy import Attempt, Call, Chain, Policy, Switchable, compose
from chassis.resilience.profile import PROFILES, EdgePolicies, ProfileError, build, off_for
from chassis.resilience.rate_limiter import RateLimiter
from chassis.resilience.retry import Retry
from chassis.resilience.shed import LoadShedder
from chassis.resilience.throttle import AdaptiveThrottle
from chassis.resilience.timeout import Timeout

__all__ = [
    "BUDGET_HEADER",
    "PROFILES",
    "SYSTEM_CLOCK",
    "AdaptiveLimit",
    "AdaptiveThrottle",
    "Aimd",
    "Attempt",
    "Breaker",
    "BreakerOpen",
    "Bulkhead",
    "BulkheadFull",
    "Call",
    "CallError",
    "CallFailed",
    "Chain",
    "Clock",
    "ConsecutiveBreaker",
    "DeadlineExceeded",
    "EdgePolicies",
    "Event",
    "FakeClock",
    "Fallback",
    "Gradient2",
    "Hedge",
    "Kind",
    "Limit",
    "LimitReached",
    "Listener",
    "LoadShedder",
    "OutlierEjection",
    "Policy",
    "ProfileError",
    "RateLimited",
    "RateLimiter",
    "Rejected",
    "Retry",
    "RetryBudget",
    "Shed",
    "StaleFallback",
    "State",
    "Switchable",
    "SystemClock",
    "Throttled",
    "TimedOut",
    "Timeout",
    "build",
    "compose",
    "from_header",
    "off_for",
    "sooner",
    "to_header",
]
