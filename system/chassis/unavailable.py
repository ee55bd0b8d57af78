"""The errors that mean: a dependency cannot be reached now. Each caller expects them, so they are no bugs."""

import asyncpg
from nats.errors import Error as NatsError

from chassis.resilience.errors import CallError

STORE_UNAVAILABLE: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)
UNAVAILABLE: tuple[type[Exception], ...] = (*STORE_UNAVAILABLE, CallError, NatsError)
