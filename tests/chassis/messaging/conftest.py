"""A database with the tables of the chassis, and a broker without messages."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from chassis.messaging import bus
from chassis.messaging.bus import Bus
from chassis.postgres.database import apply_schema, open_pool


@pytest.fixture
async def pool(database: Callable[[str], str]) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(
        database("messaging"), size_max=5, clock_s=asyncio.get_running_loop().time
    )
    await apply_schema(opened, None, None)
    yield opened
    opened.terminate()


@pytest.fixture
async def broker(nats: str) -> AsyncIterator[Bus]:
    client = await bus.connect(nats, "test")
    opened = Bus(client)
    await bus.ensure_streams(opened.js)
    await opened.js.purge_stream(bus.EVENTS)
    await opened.js.purge_stream(bus.DEAD)
    yield opened
    await client.close()
