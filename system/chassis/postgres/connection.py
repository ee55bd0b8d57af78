"""A PostgreSQL connection that the lab's faults can stand in front of, statement by statement."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from chassis.faults import Exchange, Injector, armed

STATEMENT_S = 5.0
Act = Callable[[], Awaitable[Any]]
_raw: Callable[..., Awaitable[Any]] = asyncpg.Connection.execute


def _hooked(name: str) -> Any:
    original = getattr(asyncpg.Connection, name)

    @functools.wraps(original)
    def statement(conn: Any, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        # not a coroutine of its own: with no fault armed this costs one check, not a frame
        injector = armed()
        if injector is None:
            answer: Awaitable[Any] = original(conn, query, *args, **options)
            return answer
        act = functools.partial(original, conn, query, *args, **options)
        return _disturbed(conn, injector, query, act, options.get("timeout") or STATEMENT_S)

    return statement


class Connection(asyncpg.Connection):
    """asyncpg's. A delay counts against the statement's timeout, as a slow server's would."""

    execute = _hooked("execute")
    executemany = _hooked("executemany")
    fetch = _hooked("fetch")
    fetchrow = _hooked("fetchrow")
    fetchval = _hooked("fetchval")


async def _disturbed(conn: Any, injector: Injector, query: str, act: Act, timeout_s: float) -> Any:
    line = " ".join(query.split())
    verb = line.partition(" ")[0].upper().rstrip(";")
    if verb == "ROLLBACK":  # how a fault is cleaned up after, and a server never refuses it
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
    """The statement, unable to write; the session's own settings are as before afterwards."""
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
    """Lose the connection, or have the server raise a SQLSTATE: that aborts the transaction for real."""
    if code == "down":
        conn.terminate()
        raise asyncpg.ConnectionDoesNotExistError("injected: the connection was lost")
    # DO takes no parameters; the code was checked to be five letters and digits
    raise_it = f"DO $$BEGIN RAISE 'injected' USING ERRCODE = '{code}'; END$$"
    await _raw(conn, raise_it)
