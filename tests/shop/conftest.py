"""A database for the tests of a service's store."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from asyncpg import Pool

import shop
from chassis.clock import SystemClock
from chassis.postgres.database import apply_schema, open_pool

SERVICES = Path(shop.__file__).parent


@pytest.fixture
async def pool(
    request: pytest.FixtureRequest, database: Callable[[str], str]
) -> AsyncIterator[Pool]:
    """A pool on a new database with the schema of the service that the test's folder is named after."""
    service = request.path.parent.name
    pool = await open_pool(database(service), size_max=10, clock_s=SystemClock().monotonic)
    try:
        await apply_schema(pool, SERVICES / service / "schema.sql", None)
        yield pool
    finally:
        pool.terminate()
