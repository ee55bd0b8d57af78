"""The use cases of orders: place, read, cancel."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from chassis.clock import Clock
from chassis.http import context
from chassis.http.idempotency import FRESH, MISMATCH, REPLAYED, KeyReusedError, fingerprint
from chassis.ids import new_id
from chassis.resilience.errors import CallError
from chassis.telemetry import signals
from shop.orders.domain import Order, OrderError, OrderNotFoundError, price, total_cents
from shop.orders.runner import SagaRunner
from shop.orders.saga import Progress

WAIT_S = 2.5  # how long an answer waits for the saga; after that the answer is 202
MARGIN_S = 0.1  # left of the caller's deadline for the answer's way back


class Prices(Protocol):
    async def prices(self) -> Mapping[str, int]: ...


class Store(Protocol):
    async def place(
        self, order: Order, key: str, body: Any, traceparent: str
    ) -> Progress | None: ...
    async def by_key(self, user_id: str, key: str) -> tuple[Order, str] | None: ...
    async def get(self, order_id: str) -> Order | None: ...
    async def list_of(self, user_id: str, limit: int, before: str | None) -> list[Order]: ...
    async def cancel(self, order: Order, traceparent: str) -> Progress | None: ...


class Orders:
    def __init__(
        self,
        store: Store,
        products: Prices,
        runner: SagaRunner,
        clock: Clock,
        *,
        idempotency: bool = True,
    ) -> None:
        self._store = store
        self._products = products
        self._runner = runner
        self._clock = clock
        self._idempotency = idempotency

    async def place(
        self,
        user_id: str,
        email: str,
        key: str,
        quantities: list[tuple[str, int]],
        card_number: str,
        body: Any,
    ) -> tuple[Order, bool]:
        """Place an order and wait for its saga; returns (order, whether the key was used before).

        Raises UnknownSkuError, KeyReusedError, CallError (definite: nothing was placed).
        """
        try:
            lines = price(quantities, await self._products.prices())
            cents = total_cents(lines)
        except (OrderError, CallError):
            known = await self._order_of_key(user_id, key, body)
            if known is None:
                raise
            return known, True
        wanted = Order(new_id(), user_id, email, lines, card_number, total_cents=cents)
        traceparent = signals.trace_headers().get("traceparent", "")
        placed = await self._store.place(wanted, key, body, traceparent)
        if placed is None:  # this or a concurrent request with the key was here before
            known = await self._order_of_key(user_id, key, body)
            assert known is not None, "the key was taken, so its order exists"
            return known, True
        FRESH.inc()
        return await self._end_of(self._runner.start(placed), wanted.id), False

    async def _order_of_key(self, user_id: str, key: str, body: Any) -> Order | None:
        """The order that this key placed. Waits for its saga if it is still pending. Raises KeyReusedError."""
        if not self._idempotency:
            return None
        wait_until = self._clock.monotonic() + self._wait_s()
        while True:
            found = await self._store.by_key(user_id, key)
            if found is None:
                return None
            order, digest = found
            if digest != fingerprint(body):
                MISMATCH.inc()
                raise KeyReusedError("this Idempotency-Key placed another order")
            if order.status != "pending" or self._clock.monotonic() >= wait_until:
                REPLAYED.inc()
                return order
            await self._clock.sleep(0.05)

    async def get(self, user_id: str, order_id: str) -> Order:
        """Raises OrderNotFoundError, also for another user's order."""
        order = await self._get(order_id)
        if order.user_id != user_id:
            raise OrderNotFoundError(f"no order {order_id}")
        return order

    async def list_of(self, user_id: str, limit: int, before: str | None) -> list[Order]:
        return await self._store.list_of(user_id, limit, before)

    async def cancel(self, user_id: str, order_id: str) -> Order:
        """Cancel before or after confirmation. A status other than `cancelled` means: in progress."""
        order = await self.get(user_id, order_id)
        if order.status == "cancelled":
            return order
        traceparent = signals.trace_headers().get("traceparent", "")
        cancellation = await self._store.cancel(order, traceparent)
        if cancellation is not None:
            return await self._end_of(self._runner.start(cancellation), order_id)
        await self._wait_cancelled(order_id)
        return await self._get(order_id)

    async def _wait_cancelled(self, order_id: str) -> None:
        wait_until = self._clock.monotonic() + self._wait_s()
        while self._clock.monotonic() < wait_until:
            if (await self._get(order_id)).status == "cancelled":
                return
            await self._clock.sleep(0.05)

    async def _end_of(self, saga: asyncio.Task[Order | None], order_id: str) -> Order:
        """The order when its saga ends or is parked, or at the deadline. The saga continues anyway."""
        done, _ = await asyncio.wait([saga], timeout=self._wait_s())
        return (done and saga.result()) or await self._get(order_id)

    def _wait_s(self) -> float:
        deadline = context.deadline()
        if deadline is None:
            return WAIT_S
        return max(0.0, min(WAIT_S, deadline - self._clock.monotonic() - MARGIN_S))

    async def _get(self, order_id: str) -> Order:
        order = await self._store.get(order_id)
        if order is None:
            raise OrderNotFoundError(f"no order {order_id}")
        return order
