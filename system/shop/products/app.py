"""HTTP edge of products: parse, call the use cases, answer. It contains no business rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Header, Query, Response
from pydantic import BaseModel, Field

from chassis.http.auth import called_by
from chassis.http.body import Body
from chassis.http.paging import LIMIT_DEFAULT, BadCursorError, Limit, decode_cursor
from chassis.http.state import from_state
from chassis.service import Service, create_app
from shop.products import domain
from shop.products.seed import seed
from shop.products.store import ProductStore


class ProductView(BaseModel):
    id: str
    name: str
    description: str
    category: str
    price_cents: int
    currency: str
    version: int


class ProductPage(BaseModel):
    items: list[ProductView]
    next_cursor: str | None


class Category(BaseModel):
    name: str
    count: int


class Categories(BaseModel):
    items: list[Category]


class PriceList(BaseModel):
    prices: dict[str, int]


class NewPrice(Body):
    price_cents: int = Field(ge=1, le=domain.PRICE_CENTS_MAX, strict=True)


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    settings = service.settings
    pool = await service.database(seed=seed)
    default = domain.CacheTtls()
    ttls = domain.CacheTtls(
        product_s=settings.number("PRODUCT_TTL_S", default.product_s),
        page_s=settings.number("PAGE_TTL_S", default.page_s),
        categories_s=settings.number("CATEGORIES_TTL_S", default.categories_s),
    )
    service.state.products = domain.Products(ProductStore(pool), await service.cache(), ttls)
    yield


app = create_app("products", problems={domain.UnknownProductError: 404}, start=start)


ProductsDep = Annotated[domain.Products, from_state("products")]
FromOrders = Annotated[str, called_by("orders")]
# no service changes prices: an operator signs a token as products itself
FromOperator = Annotated[str, called_by("products")]
Text = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


@app.get("/products", response_model=ProductPage, summary="List and search products")
async def list_products(
    products: ProductsDep,
    query: Text = "",
    category: Text = "",
    limit: Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response:
    after = (decode_cursor(cursor, str) or [""])[0]
    if after and not domain.SKU.fullmatch(after):
        raise BadCursorError("the cursor is not from a page of products; start without a cursor")
    words = domain.search_words(query)
    if query.strip() and not words:  # a query without any word matches nothing, not everything
        return _json(b'{"items":[],"next_cursor":null}')
    page = domain.PageRequest(words, category, limit, after)
    return _json(await products.page(page))


@app.get("/products/{product_id}", response_model=ProductView, summary="Read one product")
async def get_product(product_id: str, products: ProductsDep) -> Response:
    return _json(await products.product(product_id))


@app.get(
    "/categories",
    response_model=Categories,
    summary="List the categories with their product counts",
)
async def list_categories(products: ProductsDep) -> Response:
    return _json(await products.categories())


@app.get(
    "/prices",
    response_model=PriceList,
    responses={304: {"description": "No price has changed"}},
    summary="Read the current price of each product (for services)",
)
async def list_prices(
    _: FromOrders, products: ProductsDep, if_none_match: Annotated[str, Header()] = ""
) -> Response:
    edition, prices = await products.prices(if_none_match)
    headers = {"ETag": edition}
    if prices is None:
        return Response(status_code=304, headers=headers)
    return Response(prices, headers=headers, media_type="application/json")


@app.put("/products/{product_id}/price", response_model=ProductView, summary="Change a price")
async def set_price(
    product_id: str, body: NewPrice, _: FromOperator, products: ProductsDep
) -> Response:
    return _json(await products.set_price(product_id, body.price_cents))
