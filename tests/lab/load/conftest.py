"""The fixtures of a load: a stub shop to run against, and a reader of what it wrote."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.lab.load.stub_shop import StubShop


@pytest.fixture
async def stub_shop() -> AsyncIterator[StubShop]:
    shop = StubShop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", shop.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    shop.url = site.name
    yield shop
    await runner.cleanup()


@pytest.fixture
def rows_of() -> Callable[..., list[dict[str, Any]]]:
    def read(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read
