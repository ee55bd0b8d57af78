"""HTTP edge of orders: parse, call the use cases, answer. It contains no business rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from asyncpg import Pool
from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from chassis.http.auth import CurrentUser
from chassis.http.body import Body
from chassis.http.idempotency import IdempotencyKey, keep, recall
from chassis.http.paging import LIMIT_DEFAULT, Limit, decode_cursor, encode_cursor
from chassis.http.state import from_state
from chassis.service import Service, create_app
from shop.orders.checkout import Orders
from shop.orders.clients import InventoryClient, PaymentsClient, ProductsClient
from shop.orders.domain import (
    QUANTITY_MAX,
    Order,
    OrderNotFoundError,
    OrderRefusedError,
    OrderTooLargeError,
    OutOfStockError,
    PaymentDeclinedError,
    PaymentUnavailableError,
    UnknownSkuError,
    refusal,
)
from shop.orders.runner import SagaRunner
from shop.orders.saga import Ports
from shop.orders.store import OrderStore


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    settings = service.settings
    pool = service.state.pool = await service.database()
    outbox = await service.outbox(pool)
    store = OrderStore(
        pool, outbox, settings.instance,
        saga_deadline_s=settings.number("SAGA_DEADLINE_S", 30), idempotency=settings.idempotency,
    )  # fmt: skip
    inventory = InventoryClient(service.client("inventory"))
    payments = PaymentsClient(service.client("payments"))
    runner = SagaRunner(
        store, Ports(inventory, payments), service.clock, service.record,
        resumes=settings.switch("SAGA_RESUME"),
    )  # fmt: skip
    products = ProductsClient(
        service.client("products"), service.clock, settings.number("PRICES_HELD_S", 2.0)
    )
    service.state.orders = Orders(
        store, products, runner, service.clock, idempotency=settings.idempotency
    )
    service.background("saga resumer", runner.resume)
    yield
    await runner.stop()


app = create_app(
    "orders",
    problems={
        UnknownSkuError: 422,
        OutOfStockError: 409,
        PaymentDeclinedError: 402,
        PaymentUnavailableError: 503,
        OrderNotFoundError: 404,
        OrderTooLargeError: 422,
        OrderRefusedError: 409,
    },
    start=start,
)


class NewLine(Body):
    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX, strict=True)]


class Card(Body):
    card_number: Annotated[str, Field(pattern=r"^[0-9]{12,19}$")]


class PlaceOrder(Body):
    lines: Annotated[list[NewLine], Field(min_length=1, max_length=20)]
    payment: Card


class LineView(BaseModel):
    sku: str
    quantity: int
    price_cents: int


class OrderView(BaseModel):
    id: str
    user_id: str
    status: str
    reason: str
    lines: list[LineView]
    total_cents: int
    currency: str
    created_at: datetime
    updated_at: datetime
    version: int


class OrderPage(BaseModel):
    items: list[OrderView]
    next_cursor: str | None


PoolDep = Annotated[Pool, from_state("pool")]
OrdersDep = Annotated[Orders, from_state("orders")]


@app.post(
    "/orders", status_code=201, response_model=OrderView, responses={202: {"model": OrderView}}
)
async def place_order(
    body: PlaceOrder, user: CurrentUser, key: IdempotencyKey, orders: OrdersDep
) -> Response:
    """201 if confirmed, 202 if still pending. A refusal is a problem with the order's id."""
    quantities = [(line.sku, line.quantity) for line in body.lines]
    order, replayed = await orders.place(
        user.id, user.email, key, quantities, body.payment.card_number, body
    )
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    if order.status == "cancelled":
        error = refusal(order.reason, order.id)
        if error is not None:
            error.headers = headers
            raise error
    return _answer(order, 202 if order.status == "pending" else 201, headers)


@app.get("/orders")
async def list_orders(
    user: CurrentUser, orders: OrdersDep, limit: Limit = LIMIT_DEFAULT, cursor: str | None = None
) -> OrderPage:
    before = decode_cursor(cursor, str)
    found = await orders.list_of(user.id, limit + 1, before[0] if before else None)
    more = len(found) > limit
    items = [_view(order) for order in found[:limit]]
    return OrderPage(items=items, next_cursor=encode_cursor(items[-1].id) if more else None)


@app.get("/orders/{order_id}")
async def get_order(order_id: str, user: CurrentUser, orders: OrdersDep) -> OrderView:
    return _view(await orders.get(user.id, order_id))


@app.post(
    "/orders/{order_id}/cancel", response_model=OrderView, responses={202: {"model": OrderView}}
)
async def cancel_order(
    order_id: str, user: CurrentUser, key: IdempotencyKey, orders: OrdersDep, pool: PoolDep
) -> Response:
    """200 if cancelled, 202 if in progress. A second cancellation has no further effect, whatever its key.

    The key belongs to the user: its first final answer is repeated, and another order with it is refused.
    """
    scope, of = f"orders.cancel/{user.id}", {"order_id": order_id}
    async with pool.acquire() as conn:
        stored = await recall(conn, scope=scope, key=key, body=of)
    if stored is not None:
        return stored.response()
    order = await orders.cancel(user.id, order_id)
    if order.status != "cancelled":
        return _answer(order, 202)
    async with pool.acquire() as conn:
        stored = await keep(conn, scope=scope, key=key, body=of, status=200, answer=_view(order))
    return stored.response()


def _view(order: Order) -> OrderView:
    return OrderView.model_validate(order, from_attributes=True)


def _answer(order: Order, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(_view(order).model_dump(mode="json"), status, headers)
