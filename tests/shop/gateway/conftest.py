"""A gateway in front of fake services."""

from collections.abc import AsyncIterator

import nats as nats_py
import pytest

from tests.fixtures.running import Running, RunningService
from tests.shop.gateway.upstreams import StartGateway, Upstreams, wait_until_found


@pytest.fixture
async def upstreams(running: Running, nats: str) -> AsyncIterator[Upstreams]:
    broker = await nats_py.connect(nats)
    upstreams = Upstreams(broker)
    yield upstreams
    await upstreams.close()
    await broker.close()


@pytest.fixture
def start_gateway(running: Running, upstreams: Upstreams) -> StartGateway:
    """`await start_gateway("orders", RATE_LIMIT_PER_S="1")`: a gateway that has found the fake orders."""

    async def start(*services: str, **env: str) -> RunningService:
        gateway = await running("gateway", **env)
        await upstreams.add(*services)
        await wait_until_found(gateway, upstreams)
        return gateway

    return start
