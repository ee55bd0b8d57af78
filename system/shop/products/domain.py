"""The catalogue: browsing, searching and pricing. No I/O here.

What shoppers browse is passed on as JSON bytes, just as the store wrote them: the hot path neither
parses nor validates what was validated when it was written.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SKU = re.compile(r"SKU-[0-9]{4}")
PRICE_CENTS_MAX = 10_000_000
PRICES_MAX = 100
WORDS_MAX = 8
PAGE_DEFAULT = 20
_UNKNOWN = b""  # in the cache: there is no such product


class UnknownProductError(Exception):
    """No product has this id."""


class BadPriceListError(Exception):
    """A price list was asked for no product, or for more than one answer may hold."""


@dataclass(frozen=True, slots=True)
class Lives:
    """How long each kind of answer may be served from the cache, in seconds."""

    product_s: float = 30.0
    page_s: float = 10.0
    categories_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`after` is the id that the last page ended with; empty for the first page."""

    words: tuple[str, ...] = ()
    category: str = ""
    limit: int = PAGE_DEFAULT
    after: str = ""

    @property
    def common(self) -> bool:
        """Whether many shoppers ask for just this page: a first one, unsearched, of default length."""
        return not self.words and not self.after and self.limit == PAGE_DEFAULT


@dataclass(frozen=True, slots=True)
class Price:
    price_cents: int
    version: int


class Catalogue(Protocol):
    """The store: all answers but `prices` are JSON bytes of the public form."""

    async def product(self, product_id: str) -> bytes | None: ...

    async def page(self, request: PageRequest) -> bytes: ...

    async def categories(self) -> bytes: ...

    async def prices(self, product_ids: Sequence[str]) -> dict[str, Price]: ...

    async def set_price(self, product_id: str, price_cents: int) -> tuple[bytes, str] | None:
        """The changed product and its category, or None if there is no such product."""


class BytesCache(Protocol):
    async def bytes_or_load(
        self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]
    ) -> bytes: ...

    async def delete(self, *keys: str) -> None: ...


def search_words(query: str) -> tuple[str, ...]:
    """`'Oak table!'` -> `('oak', 'table')`: at most eight words, each to be matched by its beginning."""
    words = re.findall(r"[^\W_]+", query.lower())
    return tuple(dict.fromkeys(words))[:WORDS_MAX]


class Products:
    """The use cases, cached where many ask for the same."""

    def __init__(self, catalogue: Catalogue, cache: BytesCache, lives: Lives) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._lives = lives

    async def product(self, product_id: str) -> bytes:
        """The product as JSON. Raises UnknownProductError."""
        _check(product_id)  # nor can made-up ids fill the cache

        async def load() -> bytes:
            return await self._catalogue.product(product_id) or _UNKNOWN

        found = await self._cache.bytes_or_load(
            product_key(product_id), self._lives.product_s, load
        )
        if found == _UNKNOWN:
            raise _unknown(product_id)
        return found

    async def page(self, request: PageRequest) -> bytes:
        """`{items, next_cursor}` as JSON."""
        if not request.common:
            return await self._catalogue.page(request)
        return await self._cache.bytes_or_load(
            page_key(request.category), self._lives.page_s, lambda: self._catalogue.page(request)
        )

    async def categories(self) -> bytes:
        """`{items: [{name, count}]}` as JSON."""
        return await self._cache.bytes_or_load(
            "categories", self._lives.categories_s, self._catalogue.categories
        )

    async def prices(self, product_ids: Sequence[str]) -> dict[str, Price]:
        """Prices as of now, never cached: orders are charged by them. Unknown ids are left out."""
        if not 1 <= len(product_ids) <= PRICES_MAX:
            raise BadPriceListError(
                f"ask for 1 to {PRICES_MAX} products: ?sku=SKU-0001&sku=SKU-0002"
            )
        return await self._catalogue.prices([sku for sku in product_ids if SKU.fullmatch(sku)])

    async def set_price(self, product_id: str, price_cents: int) -> bytes:
        """The product with its new price. Raises UnknownProductError."""
        _check(product_id)
        changed = await self._catalogue.set_price(product_id, price_cents)
        if changed is None:
            raise _unknown(product_id)
        product, category = changed
        # after the commit: before it, a reader could put the old price back for a whole life
        await self._cache.delete(product_key(product_id), page_key(""), page_key(category))
        return product


def product_key(product_id: str) -> str:
    return f"product:{product_id}"


def page_key(category: str) -> str:
    return f"page:{category}"


def _check(product_id: str) -> None:
    if not SKU.fullmatch(product_id):
        raise _unknown(product_id)


def _unknown(product_id: str) -> UnknownProductError:
    return UnknownProductError(f"there is no product {product_id[:40]!r}; ids look like SKU-0001")


def price_view(prices: dict[str, Price]) -> dict[str, Any]:
    return {
        "prices": {
            product_id: {"price_cents": price.price_cents, "version": price.version}
            for product_id, price in prices.items()
        }
    }
