"""The catalogue: browsing, searching and pricing. No I/O.

Pages and products are JSON bytes as PostgreSQL wrote them: the hot path neither parses nor validates
data that was validated when it was stored.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

SKU = re.compile(r"SKU-[0-9]{4}")
PRICE_CENTS_MAX = 10_000_000
WORDS_MAX = 8
PAGE_DEFAULT = 20
_UNKNOWN = b""  # cached for an id without a product


class UnknownProductError(Exception):
    """No product has this id."""


@dataclass(frozen=True, slots=True)
class CacheTtls:
    """How long each kind of answer is cached, in seconds."""

    product_s: float = 30.0
    page_s: float = 10.0
    categories_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`after` is the last id of the page before; empty for the first page."""

    words: tuple[str, ...] = ()
    category: str = ""
    limit: int = PAGE_DEFAULT
    after: str = ""

    @property
    def cacheable(self) -> bool:
        """Whether many shoppers read this page: a first page without a search, of default length."""
        return not self.words and not self.after and self.limit == PAGE_DEFAULT


class Catalogue(Protocol):
    """The store. All answers are the public JSON as bytes."""

    async def product(self, product_id: str) -> bytes | None: ...

    async def page(self, request: PageRequest) -> bytes: ...

    async def categories(self) -> bytes: ...

    async def prices(self, known: str) -> tuple[str, bytes | None]: ...

    async def set_price(self, product_id: str, price_cents: int) -> tuple[bytes, str] | None:
        """The changed product and its category, or None if there is no such product."""


class BytesCache(Protocol):
    async def bytes_or_load(
        self, key: str, ttl_s: float, load: Callable[[], Awaitable[bytes]]
    ) -> bytes: ...

    async def delete(self, *keys: str) -> None: ...


def search_words(query: str) -> tuple[str, ...]:
    """`'Oak table!'` -> `('oak', 'table')`: at most eight words, each matched by its beginning."""
    words = re.findall(r"[^\W_]+", query.lower())
    return tuple(dict.fromkeys(words))[:WORDS_MAX]


class Products:
    """The use cases, with a cache for the common reads."""

    def __init__(self, catalogue: Catalogue, cache: BytesCache, ttls: CacheTtls) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._ttls = ttls

    async def product(self, product_id: str) -> bytes:
        """The product as JSON. Raises UnknownProductError."""
        _check(product_id)  # an invalid id never enters the cache

        async def load() -> bytes:
            return await self._catalogue.product(product_id) or _UNKNOWN

        found = await self._cache.bytes_or_load(product_key(product_id), self._ttls.product_s, load)
        if found == _UNKNOWN:
            raise _unknown(product_id)
        return found

    async def page(self, request: PageRequest) -> bytes:
        """`{items, next_cursor}` as JSON."""
        if not request.cacheable:
            return await self._catalogue.page(request)
        return await self._cache.bytes_or_load(
            page_key(request.category), self._ttls.page_s, lambda: self._catalogue.page(request)
        )

    async def categories(self) -> bytes:
        """`{items: [{name, count}]}` as JSON."""
        return await self._cache.bytes_or_load(
            "categories", self._ttls.categories_s, self._catalogue.categories
        )

    async def prices(self, known: str) -> tuple[str, bytes | None]:
        """(edition, current prices as JSON, None if they are still the edition `known`).

        Never cached here: orders are charged with them.
        """
        return await self._catalogue.prices(known)

    async def set_price(self, product_id: str, price_cents: int) -> bytes:
        """The product with its new price. Raises UnknownProductError."""
        _check(product_id)
        changed = await self._catalogue.set_price(product_id, price_cents)
        if changed is None:
            raise _unknown(product_id)
        product, category = changed
        # after the commit: before it, a reader could cache the old price again
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
