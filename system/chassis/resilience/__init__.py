"""Resilience policies: one per file, with one interface, composable. Clock and randomness are passed in.

The package requires only the standard library: you can copy the folder under any name. A policy is an
object with `run(attempt, call)`. An attempt is any async function of a Call that raises CallError, or
an exception that you name, when it fails. Policies hold state: create one of each per dependency.

>>> import asyncio
>>> async def authorize(call: Call) -> str:
...     return f"{call.operation}: attempt {call.attempt}"
>>> async def main() -> str:
...     bank = compose(
...         Retry(3, budget=RetryBudget()),
...         Breaker("payments->bank", window_size=20, minimum_calls=10, wait_open_s=3.0),
...         Bulkhead("payments->bank", permits=50),
...         Timeout(0.5),
...     )
...     return await bank.run(authorize, Call("payments->bank", "authorize", idempotent=True))
>>> asyncio.run(main())
'authorize: attempt 1'

From a dict, such as a table of a TOML file, with profiles and switches:

>>> edge = build("payments->bank", {"timeout": {"seconds": 0.5}, "bulkhead": False})
>>> edge.use("breaker")
>>> edge.switch("retry", False)

With a FakeClock everything runs in virtual time, in tests. A `listener` receives an Event for every
decision. `snapshot()` returns the live state.
"""

from .adaptive_limit import AdaptiveLimit
from .breaker import Breaker, State
from .budget import RetryBudget
from .bulkhead import Bulkhead
from .clock import SYSTEM_CLOCK, Clock, FakeClock, SystemClock
from .consecutive import ConsecutiveBreaker
from .deadline import BUDGET_HEADER, from_header, sooner, to_header
from .errors import (
    BreakerOpenError,
    BulkheadFullError,
    CallError,
    CallFailedError,
    DeadlineExceededError,
    LimitReachedError,
    RateLimitedError,
    RejectedError,
    ShedError,
    ThrottledError,
    TimedOutError,
)
from .events import Event, Kind, Listener
from .fallback import Fallback, StaleFallback
from .hedge import Hedge
from .limits import Aimd, Gradient2, Limit
from .outlier import OutlierEjection
from .policy import Attempt, Call, Chain, Policy, Switchable, compose
from .profile import PROFILES, EdgePolicies, ProfileError, build, off_for
from .rate_limiter import RateLimiter
from .retry import Retry
from .shed import LoadShedder
from .throttle import AdaptiveThrottle
from .timeout import Timeout

__all__ = [
    "BUDGET_HEADER",
    "PROFILES",
    "SYSTEM_CLOCK",
    "AdaptiveLimit",
    "AdaptiveThrottle",
    "Aimd",
    "Attempt",
    "Breaker",
    "BreakerOpenError",
    "Bulkhead",
    "BulkheadFullError",
    "Call",
    "CallError",
    "CallFailedError",
    "Chain",
    "Clock",
    "ConsecutiveBreaker",
    "DeadlineExceededError",
    "EdgePolicies",
    "Event",
    "FakeClock",
    "Fallback",
    "Gradient2",
    "Hedge",
    "Kind",
    "Limit",
    "LimitReachedError",
    "Listener",
    "LoadShedder",
    "OutlierEjection",
    "Policy",
    "ProfileError",
    "RateLimitedError",
    "RateLimiter",
    "RejectedError",
    "Retry",
    "RetryBudget",
    "ShedError",
    "StaleFallback",
    "State",
    "Switchable",
    "SystemClock",
    "ThrottledError",
    "TimedOutError",
    "Timeout",
    "build",
    "compose",
    "from_header",
    "off_for",
    "sooner",
    "to_header",
]
