"""Calls of orders to other services, as the saga's ports."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from chassis.clock import Clock
from chassis.http.client import ServiceClient
from chassis.http.response import Response
from chassis.resilience.errors import CallFailedError
from shop.orders.domain import Order
from shop.orders.saga import StepRefusedError

STEP_S = 2.0  # one step with its retries; shorter than the saga's lease
_REASONS = {
    "out-of-stock": "out_of_stock",
    "unknown-sku": "unknown_sku",
    "payment-declined": "payment_declined",
}


def _accept(response: Response, operation: str) -> Any:
    """The body of a successful answer. Raises StepRefusedError for a definite refusal."""
    if response.status < 300:
        return response.body
    problem = response.body if isinstance(response.body, dict) else {}
    kind = str(problem.get("type", "")).rpartition(":")[2]
    raise StepRefusedError(_REASONS.get(kind, kind or f"{operation} {response.status}"))


class ProductsClient:
    """Holds the price list for `held_s` seconds. After that, a conditional request says whether it has changed."""

    def __init__(self, client: ServiceClient, clock: Clock, held_s: float) -> None:
        self._client = client
        self._clock = clock
        self._held_s = held_s
        self._prices: dict[str, int] = {}
        self._edition = ""
        self._held_until = -math.inf
        self._reading: asyncio.Task[None] | None = None

    async def prices(self) -> Mapping[str, int]:
        """The price in cents of each product, as the catalogue had it at most `held_s` ago.

        Raises CallError: older prices are not used.
        """
        if self._clock.monotonic() >= self._held_until:
            if self._reading is None:  # one request for all orders that wait for it
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(self._end_reading)
            await asyncio.shield(self._reading)
        return self._prices

    async def _read(self) -> None:
        asked = self._clock.monotonic()
        response = await self._client.get(
            "/prices", headers={"If-None-Match": self._edition}, route="/prices", timeout_s=STEP_S
        )
        if response.status == 200:
            self._prices, self._edition = response.body["prices"], response.headers["etag"]
        elif response.status != 304:
            raise CallFailedError(
                f"prices answered {response.status}", status=response.status, definite=True
            )
        self._held_until = asked + self._held_s

    def _end_reading(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # retrieved, also if every waiting request has gone


class InventoryClient:
    """The key of each call is made from the order, so that every call can be repeated."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def reserve(self, order: Order) -> None:
        lines = [{"sku": line.sku, "quantity": line.quantity} for line in order.lines]
        response = await self._client.post(
            "/reservations", json={"order_id": order.id, "lines": lines},
            key=f"{order.id}:reserve", route="/reservations", timeout_s=STEP_S,
        )  # fmt: skip
        _accept(response, "reserve")

    async def release(self, order: Order) -> None:
        await self._move(order, "release")

    async def commit(self, order: Order) -> None:
        await self._move(order, "commit")

    async def take_back(self, order: Order) -> None:
        await self._move(order, "return")

    async def _move(self, order: Order, operation: str) -> None:
        response = await self._client.post(
            f"/reservations/{order.id}/{operation}", key=f"{order.id}:{operation}",
            route=f"/reservations/{{order_id}}/{operation}", timeout_s=STEP_S,
        )  # fmt: skip
        _accept(response, operation)


class PaymentsClient:
    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def authorize(self, order: Order) -> None:
        body = {
            "order_id": order.id, "user_id": order.user_id, "amount_cents": order.total_cents,
            "currency": order.currency, "card_number": order.card_number,
        }  # fmt: skip
        response = await self._client.post(
            "/payments", json=body, key=f"{order.id}:authorize", route="/payments", timeout_s=STEP_S
        )
        _accept(response, "authorize")

    async def capture(self, order: Order) -> None:
        _accept(await self._move(order, "capture"), "capture")

    async def refund(self, order: Order) -> None:
        response = await self._move(order, "refund")
        if response.status == 409 and await self._status(order) in (
            "authorized",
            "voided",
            "refunded",
        ):
            return  # no money was captured, or it was refunded
        _accept(response, "refund")

    async def void(self, order: Order) -> None:
        response = await self._move(order, "void")
        if response.status == 409:
            status = await self._status(order)
            if status in ("declined", "voided", "refunded"):
                return  # the bank holds no money
            if status == "captured":  # a capture without an answer did arrive
                await self.refund(order)
                return
        _accept(response, "void")

    async def _move(self, order: Order, operation: str) -> Response:
        return await self._client.post(
            f"/payments/{order.id}/{operation}", key=f"{order.id}:{operation}",
            route=f"/payments/{{order_id}}/{operation}", timeout_s=STEP_S,
        )  # fmt: skip

    async def _status(self, order: Order) -> str:
        response = await self._client.get(
            f"/payments/{order.id}", route="/payments/{order_id}", timeout_s=STEP_S
        )
        return str(response.body.get("status", "")) if response.status == 200 else ""
