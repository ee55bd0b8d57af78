"""Metrics of PostgreSQL, Valkey and NATS, read at each scrape, within one second each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit

import asyncpg

from lab.prometheus_text import Exposition
from lab.watch import nats, postgres, valkey

ANSWER_S = 1.0
DOWN = (
    *(OSError, TimeoutError, EOFError, ValueError, KeyError, TypeError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError),
)
Answer = TypeVar("Answer")


class Stores:
    """The three servers, given by URL; the connection to PostgreSQL is reused."""

    def __init__(self, postgres_url: str, valkey_url: str, nats_monitoring: str) -> None:
        self._postgres = postgres_url
        self._valkey = urlsplit(valkey_url)
        self._nats = urlsplit(nats_monitoring)
        self._connection: asyncpg.Connection | None = None
        self._reading = asyncio.Lock()  # two scrapes at once would share the connection

    async def metrics(self) -> str:
        """Returns Prometheus text; a server that does not answer has only its `_up 0`."""
        page = Exposition()
        async with self._reading:
            database, cache, broker = await asyncio.gather(
                _within_limit(self._fetch_postgres()),
                _within_limit(valkey.fetch(self._valkey)),
                _within_limit(nats.fetch(self._nats)),
            )
        for name, answer in (("postgres", database), ("valkey", cache), ("nats", broker)):
            page.family(f"{name}_up", "gauge", "1 while the server answers")
            page.sample(int(answer is not None))
        if database is not None:
            postgres.write_metrics(page, database)
        if cache is not None:
            valkey.write_metrics(page, cache)
        if broker is not None:
            nats.write_metrics(page, broker)
        return page.text()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def _fetch_postgres(self) -> postgres.Rows:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._postgres, timeout=ANSWER_S)
            return await postgres.fetch(self._connection)
        except BaseException:
            # also after a cancellation: an answer may still arrive on the connection
            await self.close()
            self._connection = None
            raise


async def _within_limit(answer: Awaitable[Answer]) -> Answer | None:
    """Returns the answer, None if it is late or the server fails."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await answer
    except DOWN:
        return None
