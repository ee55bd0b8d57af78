"""The running products over HTTP, on the real PostgreSQL and Valkey."""

import asyncio
from typing import Any

import aiohttp
import asyncpg
import pytest
import redis.asyncio as redis

from tests.fixtures.running import Running, RunningService


@pytest.fixture(autouse=True)
async def empty_cache(valkey: str) -> None:
    """Clears the Valkey that other tests share."""
    async with redis.from_url(valkey) as cache:
        await cache.flushall()


async def call(
    service: RunningService, method: str, path: str, json: Any = None, token: str = ""
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, service.url + path, json=json, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def get(service: RunningService, path: str, token: str = "") -> tuple[int, Any]:
    return await call(service, "GET", path, token=token)


async def test_a_cursor_leads_to_the_next_page(running: Running) -> None:
    products = await running("products")
    _, first = await get(products, "/products")
    _, second = await get(products, f"/products?cursor={first['next_cursor']}")
    assert [first["items"][0]["id"], second["items"][0]["id"]] == ["SKU-0001", "SKU-0021"]
    _, found = await get(products, "/products?query=teapot&category=Kitchen&limit=3")
    assert len(found["items"]) == 3
    assert all("Teapot" in item["name"] for item in found["items"])
    _, nothing = await get(products, "/products?query=%21%3F")
    assert nothing == {"items": [], "next_cursor": None}
    _, categories = await get(products, "/categories")
    assert sum(category["count"] for category in categories["items"]) == 1000


async def test_invalid_queries_get_a_clear_problem(running: Running) -> None:
    products = await running("products")
    for path, status, kind in (
        ("/products/SKU-1001", 404, "unknown-product"),
        ("/products/%00", 404, "unknown-product"),
        ("/products?limit=0", 422, "invalid-request"),
        ("/products?limit=101", 422, "invalid-request"),
        ("/products?query=%00", 422, "invalid-request"),
        ("/products?category=%00", 422, "invalid-request"),
        ("/products?query=" + "x" * 101, 422, "invalid-request"),
        ("/products?cursor=junk", 400, "bad-cursor"),
        ("/products?cursor=WyJcdTAwMDAiXQ", 400, "bad-cursor"),  # ["\u0000"]
    ):
        answered, problem = await get(products, path)
        assert (answered, problem["type"]) == (status, f"urn:breakwater:problem:{kind}"), path


async def test_a_price_changed_on_one_instance_is_seen_on_the_other(running: Running) -> None:
    one, other = await running("products"), await running("products")
    operator = one.service_token("products")
    path = "/products/SKU-0001"
    _, before = await get(other, path)
    await get(other, "/products")
    status, changed = await call(one, "PUT", f"{path}/price", {"price_cents": 4711}, operator)
    assert status == 200
    assert changed == {**before, "price_cents": 4711, "version": before["version"] + 1}
    assert await get(other, path) == (200, changed)
    _, page = await get(other, "/products")
    assert page["items"][0] == changed
    _, listed = await get(other, "/prices", one.service_token("orders"))
    assert listed["prices"]["SKU-0001"] == 4711


async def test_bad_prices_are_refused(running: Running) -> None:
    products = await running("products")
    token = products.service_token("products")
    for price in (0, -1, 1.5, "100", None, True, 10**9):
        body = {"price_cents": price}
        status, _ = await call(products, "PUT", "/products/SKU-0001/price", body, token)
        assert status == 422, price
    _, product = await get(products, "/products/SKU-0001")
    assert product["version"] == 1


async def test_cached_products_need_no_database(running: Running, valkey: str) -> None:
    products = await running("products", PRODUCT_TTL_S="600")
    cache = redis.from_url(valkey)
    _, before = await get(products, "/products/SKU-0007")
    conn = await asyncpg.connect(products.settings.database_url)
    try:
        await conn.execute("UPDATE products SET name = 'changed behind the cache'")
        assert await get(products, "/products/SKU-0007") == (200, before)
        assert await cache.delete("products:product:SKU-0007") == 1
        _, after = await get(products, "/products/SKU-0007")
    finally:
        await conn.close()
        await cache.aclose()
    assert after["name"] == "changed behind the cache"


async def test_without_valkey_products_come_from_the_database(running: Running) -> None:
    products = await running("products", VALKEY_URL="redis://127.0.0.1:1/0")
    answers = await asyncio.gather(*(get(products, "/products/SKU-0001") for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert (await get(products, "/products"))[0] == 200
