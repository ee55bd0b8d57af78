"""The errors that mean: a dependency cannot be used now. Each caller expects them, so they are no bugs."""

import asyncpg
from asyncpg.exceptions import _base
from nats.errors import Error as NatsError

from chassis.resilience.errors import CallError

# By SQLSTATE class (PostgreSQL manual, appendix A), because a server that is starting, stopping, full or read-only
# reports many codes.
STORE_UNAVAILABLE: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.InvalidAuthorizationSpecificationError,  # 28
    asyncpg.InsufficientResourcesError,  # 53: disk full, out of memory, too many connections
    asyncpg.OperatorInterventionError,  # 57: shutdown, crash, cannot connect now, statement cancelled
    asyncpg.PostgresSystemError,  # 58: I/O error
    asyncpg.ReadOnlySQLTransactionError,  # 25006
    asyncpg.InvalidCatalogNameError,  # 3D: the database does not exist now
    asyncpg.TransactionRollbackError,  # 40: deadlock, serialization failure
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.InterfaceError,  # the client's own: the connection or the pool is closed
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# The store cannot hold this value: NUL in a text, a lone surrogate, a number out of range. It is the fault of the
# request or the event. The client's own error is an InterfaceError too.
VALUE_REFUSED: tuple[type[Exception], ...] = (
    asyncpg.DataError,  # 22
    _base.DataError,
    UnicodeEncodeError,
)


def store_is_down(error: Exception) -> bool:
    """Whether the store cannot be used now; no for a value that it refuses."""
    return isinstance(error, STORE_UNAVAILABLE) and not isinstance(error, VALUE_REFUSED)


def dependency_is_down(error: Exception) -> bool:
    """Whether a store, the broker or another service cannot be used now."""
    return store_is_down(error) or isinstance(error, CallError | NatsError)
