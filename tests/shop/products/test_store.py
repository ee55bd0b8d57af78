"""Search, pages and prices on the real PostgreSQL, and the seeded catalogue."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import shop.products
from chassis.http.paging import decode_cursor
from chassis.postgres.database import apply_schema
from shop.products.domain import PageRequest, search_words
from shop.products.seed import PRODUCTS, RANGE, catalogue, seed
from shop.products.store import ProductStore

SCHEMA = Path(shop.products.__file__).with_name("schema.sql")


@pytest.fixture
async def store(database: Callable[[str], str]) -> AsyncIterator[ProductStore]:
    url = await asyncio.to_thread(database, "products")
    async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:
        await apply_schema(pool, SCHEMA, seed)
        await apply_schema(pool, SCHEMA, seed)  # as a second instance does; nothing is added
        yield ProductStore(pool)


async def read(store: ProductStore, query: str = "", **request: Any) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(
        await store.page(PageRequest(words=search_words(query), **request))
    )
    return page


async def read_all(store: ProductStore, query: str = "", **request: Any) -> list[dict[str, Any]]:
    items, after = [], ""
    while True:
        page = await read(store, query, after=after, **request)
        items += page["items"]
        last = decode_cursor(page["next_cursor"], str)
        if last is None:
            return items
        after = last[0]


def test_the_catalogue_is_the_same_in_every_lab_and_realistic() -> None:
    products = list(catalogue())
    assert products == list(catalogue())
    assert [products[0].id, products[-1].id] == ["SKU-0001", "SKU-1000"]
    assert len(products) == len({product.id for product in products}) == PRODUCTS
    assert {product.category for product in products} == RANGE.keys()
    for product in products:
        low, high = RANGE[product.category]["price_cents"]
        assert low - 100 <= product.price_cents <= high + 100
        assert product.price_cents % 100 == 90


async def test_a_product_has_exactly_its_public_fields(store: ProductStore) -> None:
    found = await store.product("SKU-0001")
    assert found is not None
    first = next(catalogue())
    assert json.loads(found) == {**first._asdict(), "currency": "EUR", "version": 1}
    assert await store.product("SKU-1001") is None


@pytest.mark.parametrize("limit", [7, 100])
async def test_pages_show_every_product_once_in_order(store: ProductStore, limit: int) -> None:
    ids = [item["id"] for item in await read_all(store, limit=limit)]
    assert ids == [f"SKU-{n:04d}" for n in range(1, PRODUCTS + 1)]


async def test_the_last_page_has_no_cursor_even_if_it_is_full(store: ProductStore) -> None:
    page = await read(store, after="SKU-0980", limit=20)
    assert len(page["items"]) == 20
    assert page["next_cursor"] is None


async def test_search_matches_the_beginning_of_every_word_in_any_case(store: ProductStore) -> None:
    found = await read_all(store, "TEA oak", limit=100)
    texts = [f"{p['name']} {p['category']} {p['description']}".lower() for p in catalogue_views()]
    words = [text.replace("(", " ").replace(")", " ").split() for text in texts]
    expected = [
        view["id"]
        for view, each in zip(catalogue_views(), words, strict=True)
        if any(w.startswith("tea") for w in each) and any(w.startswith("oak") for w in each)
    ]
    assert [item["id"] for item in found] == expected
    by_word = await read_all(store, "teap", limit=100)
    assert by_word
    assert all("Teapot" in item["name"] for item in by_word)


def catalogue_views() -> list[dict[str, Any]]:
    return [product._asdict() for product in catalogue()]


async def test_search_by_id_finds_that_product(store: ProductStore) -> None:
    assert [item["id"] for item in await read_all(store, "sku-0042")] == ["SKU-0042"]


async def test_search_and_category_narrow_each_other(store: ProductStore) -> None:
    found = await read_all(store, "copper", category="Garden", limit=100)
    assert found
    assert {item["category"] for item in found} == {"Garden"}
    assert all("copper" in item["description"].lower() for item in found)
    assert await read_all(store, "copper", category="Nowhere") == []


@pytest.mark.parametrize("query", ["'", "o'oak & !:*", "\\", "²", "٣", "%_", "a" * 100])
async def test_no_query_breaks_the_search(store: ProductStore, query: str) -> None:
    words = search_words(query)
    if words:
        await read(store, query)


async def test_categories_are_counted(store: ProductStore) -> None:
    counts = {c["name"]: c["count"] for c in json.loads(await store.categories())["items"]}
    assert counts == Counter(product.category for product in catalogue())


async def test_a_price_change_raises_the_version_once(store: ProductStore) -> None:
    before, prices = await store.prices("")
    assert prices is not None
    assert await store.prices(before) == (before, None)
    for _ in range(2):  # the same price again, as by a retried PUT, changes nothing
        changed = await store.set_price("SKU-0001", 4711)
        assert changed is not None
        public, category = changed
        view = json.loads(public)
        assert (view["price_cents"], view["version"]) == (4711, 2)
        assert category == view["category"]
    after, changed_prices = await store.prices(before)
    assert after != before
    assert changed_prices is not None
    assert json.loads(changed_prices)["prices"] == json.loads(prices)["prices"] | {"SKU-0001": 4711}
    assert await store.prices(after) == (after, None)
    assert await store.set_price("SKU-9999", 1) is None
