"""A gateway with stand-ins behind it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import nats as nats_py
import pytest

from tests.fixtures.running import Running, RunningService
from tests.shop.gateway.inner import Inner, found

Before = Callable[..., Awaitable[RunningService]]


@pytest.fixture
async def inner(running: Running, nats: str) -> AsyncIterator[Inner]:
    broker = await nats_py.connect(nats)
    inner = Inner(broker)
    yield inner
    await inner.close()
    await broker.close()


@pytest.fixture
def gateway_before(running: Running, inner: Inner) -> Before:
    """`await gateway_before("orders", RATE_LIMIT_PER_S="1")`: a gateway that has found `inner`'s orders."""

    async def start(*services: str, **env: str) -> RunningService:
        gateway = await running("gateway", **env)
        await inner.add(*services)
        await found(gateway, inner)
        return gateway

    return start
