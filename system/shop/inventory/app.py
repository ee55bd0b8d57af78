"""HTTP edge of inventory: parse, call the store, answer. It contains no business rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import Field

from chassis.clock import Clock
from chassis.http.auth import called_by
from chassis.http.body import Body
from chassis.http.idempotency import IdempotencyKey, KeyUse
from chassis.http.state import from_state
from chassis.service import Service, create_app
from shop.inventory.domain import (
    Command,
    Line,
    OutOfStockError,
    Reservation,
    ReservationDiffersError,
    ReservationLostError,
    ReservationNotFoundError,
    ReservationReleasedError,
    StockNotFoundError,
    UnknownSkuError,
    WrongStateError,
)
from shop.inventory.seed import seed
from shop.inventory.store import StockStore
from shop.inventory.sweeper import Sweeper


class LineBody(Body):
    """A number of units of one SKU."""

    sku: str = Field(min_length=1, max_length=32)
    quantity: int = Field(ge=1, le=100, strict=True)


class Reserve(Body):
    """The goods of one order. Lines of the same SKU are added up."""

    order_id: UUID
    lines: list[LineBody] = Field(min_length=1, max_length=20)


class Inventory:
    """Runs each command once per key."""

    def __init__(self, store: StockStore, clock: Clock, ttl_s: float) -> None:
        self.store = store
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_s)

    async def reserve(self, body: Reserve, key: str) -> Response:
        lines = [Line(line.sku, line.quantity) for line in body.lines]
        now = self._clock.now()
        with KeyUse(f"inventory.{Command.RESERVE}", key, body, 201, view) as use:
            await self.store.reserve(
                use, str(body.order_id), lines, now=now, expires_at=now + self._ttl
            )
        return use.response()

    async def change(self, command: Command, order_id: UUID, key: str) -> Response:
        change = {
            Command.RELEASE: self.store.release,
            Command.COMMIT: self.store.commit,
            Command.RETURN: self.store.take_back,
        }[command]
        body = {"order_id": str(order_id)}
        with KeyUse(f"inventory.{command}", key, body, 200, view) as use:
            await change(use, str(order_id), now=self._clock.now())
        return use.response()


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    settings = service.settings
    pool = await service.database(seed=seed)
    store = StockStore(pool, guard=settings.stock_guard)
    ttl_s = settings.number("RESERVATION_TTL_S", 120.0)
    service.state.inventory = Inventory(store, service.clock, ttl_s)
    sweeper = Sweeper(store, service.clock, period_s=settings.number("RESERVATION_SWEEP_S", 1.0))
    service.background("expire reservations", sweeper.run)
    yield


app = create_app(
    "inventory",
    problems={
        ReservationNotFoundError: 404,
        StockNotFoundError: 404,
        OutOfStockError: 409,
        ReservationReleasedError: 409,
        ReservationLostError: 409,
        ReservationDiffersError: 409,
        WrongStateError: 409,
        UnknownSkuError: 422,
    },
    start=start,
)


InventoryDep = Annotated[Inventory, from_state("inventory")]
FromOrders = Annotated[str, called_by("orders")]


@app.post("/reservations", status_code=201)
async def reserve(
    body: Reserve, key: IdempotencyKey, _: FromOrders, inventory: InventoryDep
) -> Response:
    return await inventory.reserve(body, key)


@app.post("/reservations/{order_id}/release")
async def release(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, inventory: InventoryDep
) -> Response:
    return await inventory.change(Command.RELEASE, order_id, key)


@app.post("/reservations/{order_id}/commit")
async def commit(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, inventory: InventoryDep
) -> Response:
    return await inventory.change(Command.COMMIT, order_id, key)


@app.post("/reservations/{order_id}/return")
async def return_goods(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, inventory: InventoryDep
) -> Response:
    return await inventory.change(Command.RETURN, order_id, key)


@app.get("/stock/{sku}")
async def read_stock(sku: str, inventory: InventoryDep) -> dict[str, Any]:
    found = await inventory.store.stock(sku)
    return {**asdict(found), "available": found.on_hand}


def view(reservation: Reservation) -> dict[str, Any]:
    expires_at = reservation.expires_at
    return {
        "order_id": reservation.order_id,
        "status": reservation.status.value,
        "lines": reservation.lines,
        "expires_at": expires_at.isoformat() if expires_at else None,
    }
