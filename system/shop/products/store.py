"""The catalogue in PostgreSQL, which writes the public JSON: no Python objects in between."""

import json
from typing import Any

from asyncpg import Pool

from chassis.http.paging import encode_cursor
from shop.products.domain import PageRequest

_PRODUCT = "SELECT public_form(p) FROM products p WHERE id = $1"
# A price change raises a version, so the sum of the versions identifies the prices.
_PRICES = """
SELECT edition, CASE WHEN edition <> $1 THEN
    (SELECT json_build_object('prices', json_object_agg(id, price_cents))::text FROM products) END AS prices
FROM (SELECT format('"%s-%s"', count(*), sum(version)) AS edition FROM products) AS current
"""
_SET_PRICE = (  # the same price again changes nothing, so that PUT may be repeated
    "UPDATE products p SET price_cents = $2, version = version + (price_cents <> $2)::int "
    "WHERE id = $1 RETURNING category, public_form(p) AS public"
)
_CATEGORIES = "SELECT category, count(*) AS count FROM products GROUP BY category ORDER BY category"


class ProductStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def product(self, product_id: str) -> bytes | None:
        found: str | None = await self._pool.fetchval(_PRODUCT, product_id)
        return found.encode() if found is not None else None

    async def page(self, request: PageRequest) -> bytes:
        """The page as JSON, ordered by id; one more row is read to find out whether another page follows."""
        values: list[Any] = [request.after, request.limit + 1]
        conditions = ["id > $1"]
        if request.category:
            values.append(request.category)
            conditions.append(f"category = ${len(values)}")
        if request.words:
            # words contain only letters and digits, so they need no quoting in a tsquery
            values.append(" & ".join(f"{word}:*" for word in request.words))
            conditions.append(f"document @@ to_tsquery('simple', ${len(values)})")
        where = " AND ".join(conditions)
        rows = await self._pool.fetch(
            f"SELECT id, public_form(p) AS public FROM products p WHERE {where} ORDER BY id LIMIT $2",  # noqa: S608 -- values are bound
            *values,
        )
        shown = rows[: request.limit]
        cursor = encode_cursor(shown[-1]["id"]) if len(rows) > len(shown) else None
        items = ",".join(row["public"] for row in shown)
        return f'{{"items":[{items}],"next_cursor":{json.dumps(cursor)}}}'.encode()

    async def categories(self) -> bytes:
        rows = await self._pool.fetch(_CATEGORIES)
        items = [{"name": row["category"], "count": row["count"]} for row in rows]
        return json.dumps({"items": items}).encode()

    async def prices(self, known: str) -> tuple[str, bytes | None]:
        (row,) = await self._pool.fetch(_PRICES, known)
        return row["edition"], row["prices"] and row["prices"].encode()

    async def set_price(self, product_id: str, price_cents: int) -> tuple[bytes, str] | None:
        row = await self._pool.fetchrow(_SET_PRICE, product_id, price_cents)
        return (row["public"].encode(), row["category"]) if row else None
