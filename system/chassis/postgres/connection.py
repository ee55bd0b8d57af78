"""A PostgreSQL connection on which the lab's faults can act, statement by statement."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.faults import Exchange, Injector, armed

if TYPE_CHECKING:
    Conn = asyncpg.Connection[Any] | PoolConnectionProxy[Any]
else:
    Conn = asyncpg.Connection
STATEMENT_S = 5.0
Act = Callable[[], Awaitable[Any]]
_raw: Callable[..., Awaitable[Any]] = asyncpg.Connection.execute


def _hooked(name: str) -> Any:
    original = getattr(asyncpg.Connection, name)

    @functools.wraps(original)
    def statement(conn: Any, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        # not a coroutine: without an active fault this costs one check, not a frame
        injector = armed()
        if injector is None:
            answer: Awaitable[Any] = original(conn, query, *args, **options)
            return answer
        act = functools.partial(original, conn, query, *args, **options)
        return _with_faults(conn, injector, query, act, options.get("timeout") or STATEMENT_S)

    return statement


class Connection(asyncpg.Connection):
    """asyncpg's connection. A fault's delay counts towards the statement's timeout, as a slow server's does."""

    execute = _hooked("execute")
    executemany = _hooked("executemany")
    fetch = _hooked("fetch")
    fetchrow = _hooked("fetchrow")
    fetchval = _hooked("fetchval")


async def _with_faults(
    conn: Any, injector: Injector, query: str, act: Act, timeout_s: float
) -> Any:
    line = " ".join(query.split())
    verb = line.partition(" ")[0].upper().rstrip(";")
    if verb == "ROLLBACK":  # it cleans up after a fault, and a server never refuses it
        return await act()
    exchange = Exchange(
        "database", verb, line, fail=functools.partial(_fail, conn),
        in_transaction=conn.is_in_transaction(),
    )  # fmt: skip

    async def proceed(discard: bool) -> Any:
        answer = await (_read_only(conn, verb, act) if exchange.read_only else act())
        if discard:
            await _fail(conn, "down")
        return answer

    async with asyncio.timeout(timeout_s):
        return await injector.run(exchange, proceed)


async def _read_only(conn: Any, verb: str, act: Act) -> Any:
    """Run the statement read-only. Afterwards the settings of the session are as before."""
    if verb in ("BEGIN", "START"):
        answer = await act()
        await _raw(conn, "SET TRANSACTION READ ONLY")
        return answer
    if conn.is_in_transaction():
        return await act()
    await _raw(conn, "SET default_transaction_read_only = on")
    try:
        return await act()
    finally:
        if not conn.is_closed():
            await _raw(conn, "RESET default_transaction_read_only")


async def _fail(conn: Any, code: str) -> None:
    """Close the connection, or make the server raise a SQLSTATE, which really aborts the transaction."""
    if code == "down":
        conn.terminate()
        raise asyncpg.ConnectionDoesNotExistError("injected: the connection was lost")
    # DO takes no parameters; the fault has checked that the code is five letters or digits
    raise_it = f"DO $$BEGIN RAISE 'injected' USING ERRCODE = '{code}'; END$$"
    await _raw(conn, raise_it)
