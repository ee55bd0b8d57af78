"""What the cache keeps, and what a price change removes from it; with fakes."""

from collections.abc import Awaitable, Callable

import pytest

from shop.products.domain import CacheTtls, PageRequest, Products, UnknownProductError, search_words


class FakeCatalogue:
    def __init__(self) -> None:
        self.prices_cents = {"SKU-0001": 100}
        self.reads: list[str] = []

    async def product(self, product_id: str) -> bytes | None:
        self.reads.append(product_id)
        price = self.prices_cents.get(product_id)
        return b"%d" % price if price else None

    async def page(self, request: PageRequest) -> bytes:
        self.reads.append(f"page {request.category}")
        return b"page of %d" % self.prices_cents["SKU-0001"]

    async def categories(self) -> bytes:
        self.reads.append("categories")
        return b"categories"

    async def prices(self, known: str) -> tuple[str, bytes | None]:
        return "edition", b"%d" % self.prices_cents["SKU-0001"]

    async def set_price(self, product_id: str, price_cents: int) -> tuple[bytes, str] | None:
        if product_id not in self.prices_cents:
            return None
        self.prices_cents[product_id] = price_cents
        return b"%d" % price_cents, "Books"


class FakeCache:
    """Entries never expire, so an old value after a change was not deleted."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    async def bytes_or_load(
        self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        if key not in self.entries:
            self.entries[key] = await load()
        return self.entries[key]

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self.entries.pop(key, None)


class Shop:
    def __init__(self) -> None:
        self.catalogue, self.cache = FakeCatalogue(), FakeCache()
        self.products = Products(self.catalogue, self.cache, CacheTtls())


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_product_is_read_once_and_then_from_the_cache(shop: Shop) -> None:
    assert await shop.products.product("SKU-0001") == b"100"
    assert await shop.products.product("SKU-0001") == b"100"
    assert shop.catalogue.reads == ["SKU-0001"]


async def test_a_missing_product_is_looked_up_once(shop: Shop) -> None:
    for _ in range(2):
        with pytest.raises(UnknownProductError, match="SKU-9999"):
            await shop.products.product("SKU-9999")
    assert shop.catalogue.reads == ["SKU-9999"]


@pytest.mark.parametrize("product_id", ["sku-0001", "SKU-1", "SKU-0001\n", "SKU-\u0661234", "\x00"])
async def test_an_invalid_sku_reaches_neither_cache_nor_database(
    shop: Shop, product_id: str
) -> None:
    with pytest.raises(UnknownProductError):
        await shop.products.product(product_id)
    with pytest.raises(UnknownProductError):
        await shop.products.set_price(product_id, 1)
    assert not shop.catalogue.reads
    assert not shop.cache.entries


async def test_a_new_price_is_seen_at_once_wherever_it_was_cached(shop: Shop) -> None:
    await shop.products.product("SKU-0001")
    await shop.products.page(PageRequest())
    await shop.products.page(PageRequest(category="Books"))
    assert await shop.products.set_price("SKU-0001", 250) == b"250"
    assert await shop.products.product("SKU-0001") == b"250"
    assert await shop.products.page(PageRequest()) == b"page of 250"
    assert await shop.products.page(PageRequest(category="Books")) == b"page of 250"


@pytest.mark.parametrize(
    ("request_", "cached"),
    [
        (PageRequest(), True),
        (PageRequest(category="Books"), True),
        (PageRequest(words=("oak",)), False),
        (PageRequest(after="SKU-0020"), False),
        (PageRequest(limit=7), False),
    ],
)
async def test_only_common_pages_are_cached(
    shop: Shop, request_: PageRequest, cached: bool
) -> None:
    await shop.products.page(request_)
    await shop.products.page(request_)
    assert len(shop.catalogue.reads) == (1 if cached else 2)


async def test_prices_are_never_cached(shop: Shop) -> None:
    await shop.products.product("SKU-0001")
    await shop.products.prices("")
    shop.catalogue.prices_cents["SKU-0001"] = 300
    assert await shop.products.prices("") == ("edition", b"300")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Oak table!", ("oak", "table")),
        ("oak OAK", ("oak",)),
        ("SKU-0001", ("sku", "0001")),
        ("a & b | !c:*", ("a", "b", "c")),
        ("", ()),
        ("?!", ()),
        ("snake_case", ("snake", "case")),
        (" ".join("abcdefghijkl"), tuple("abcdefgh")),
    ],
)
def test_a_search_uses_only_words(query: str, words: tuple[str, ...]) -> None:
    assert search_words(query) == words
