"""The price list that orders holds: one request for all, never older than its time, conditional after that."""

import asyncio
import json
from typing import Any

import pytest

from chassis.clock import SystemClock
from chassis.http.connections import Connections
from chassis.http.response import Response, checked
from chassis.resilience.errors import CallFailedError
from shop.orders.clients import ProductsClient
from tests.fixtures.running import Running
from tests.fixtures.waiting import wait_until_async
from tests.shop.service_calls import call


class Catalogue:
    """Answers `GET /prices` as products does."""

    def __init__(self) -> None:
        self.price, self.edition, self.status = 100, "1", 200
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def get(self, path: str, *, headers: dict[str, str], **_: Any) -> Response:
        self.asked.append(headers["If-None-Match"])
        price, edition, status = self.price, self.edition, self.status
        await self.answers.wait()
        if status >= 500:
            raise CallFailedError("down", definite=True)
        if headers["If-None-Match"] == edition:
            return Response(304, b"", {})
        body = json.dumps({"prices": {"SKU-0001": price}}).encode()
        return Response(status, body, {"etag": edition})


class SetClock(SystemClock):
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class Held:
    def __init__(self) -> None:
        self.catalogue, self.clock = Catalogue(), SetClock()
        self.client = ProductsClient(self.catalogue, self.clock, 2.0)  # type: ignore[arg-type]

    async def price(self) -> int:
        return (await self.client.prices())["SKU-0001"]


async def test_orders_at_the_same_time_share_one_request() -> None:
    held = Held()
    assert await asyncio.gather(*(held.price() for _ in range(16))) == [100] * 16
    assert held.catalogue.asked == [""]


async def test_a_changed_price_is_used_after_the_holding_time_at_the_latest() -> None:
    held = Held()
    await held.price()
    held.catalogue.price, held.catalogue.edition = 300, "2"
    held.clock.now_s += 1.9
    assert await held.price() == 100
    held.clock.now_s += 0.1
    assert await held.price() == 300
    held.clock.now_s += 2.0
    assert await held.price() == 300
    assert held.catalogue.asked == ["", "1", "2"]


async def test_the_holding_time_begins_when_the_list_is_requested() -> None:
    held = Held()
    held.catalogue.answers.clear()
    reading = asyncio.create_task(held.price())
    await wait_until_async(lambda: held.catalogue.asked, "the request")
    held.clock.now_s += 1.5
    held.catalogue.answers.set()
    assert await reading == 100
    held.clock.now_s += 0.5
    await held.price()
    assert held.catalogue.asked == ["", "1"]


async def test_without_an_answer_there_is_no_older_price_and_the_next_order_asks_again() -> None:
    held = Held()
    await held.price()
    held.clock.now_s += 2.0
    held.catalogue.status = 503
    results = await asyncio.gather(held.price(), held.price(), return_exceptions=True)
    assert [type(each) for each in results] == [CallFailedError] * 2
    held.catalogue.status = 200
    assert await held.price() == 100
    assert held.catalogue.asked == ["", "1", "1"]


async def test_a_customer_who_leaves_does_not_end_the_request_of_the_others() -> None:
    held = Held()
    held.catalogue.answers.clear()
    first, second = (asyncio.create_task(held.price()) for _ in range(2))
    await wait_until_async(lambda: held.catalogue.asked, "the request")
    first.cancel()
    held.catalogue.answers.set()
    assert await second == 100
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_products_lists_its_prices_again_only_after_a_change(running: Running) -> None:
    """The real products, over a real connection."""
    products = await running("products")
    connections, clock = Connections(), SetClock()
    statuses: list[int] = []
    token = products.service_token("orders")

    class Direct:
        async def get(self, path: str, *, headers: dict[str, str], **_: Any) -> Response:
            sent = headers | {"authorization": f"Bearer {token}"}
            address = products.url.removeprefix("http://")
            status, got, content = await connections.request("p", address, "GET", path, sent)
            statuses.append(status)
            return checked("products", Response(status, content, got), safe=True)

    client = ProductsClient(Direct(), clock, 2.0)  # type: ignore[arg-type]
    before = dict(await client.prices())
    clock.now_s += 2
    assert await client.prices() == before
    price = {"price_cents": before["SKU-0001"] + 1}
    path, operator = "/products/SKU-0001/price", products.service_token("products")
    assert (await call(products, "PUT", path, json=price, token=operator)).status == 200
    clock.now_s += 2
    assert await client.prices() == before | {"SKU-0001": before["SKU-0001"] + 1}
    assert statuses == [200, 304, 200]
    await connections.close()
