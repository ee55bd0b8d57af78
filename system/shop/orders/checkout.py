"""The use cases of orders: place, read, cancel."""

import asyncio
from typing import Any, Protocol

from chassis.clock import Clock
from chassis.http import context
from chassis.http.idempotency import FRESH, MISMATCH, REPLAYED, KeyReusedError, fingerprint
from chassis.ids import new_id
from chassis.telemetry import signals
from shop.orders.domain import Order, OrderNotFoundError, price, total_cents
from shop.orders.runner import SagaRunner
from shop.orders.saga import Progress

WAIT_S = 2.5  # how long an answer waits for the saga; after that the answer is 202
MARGIN_S = 0.1  # left of the caller's deadline for the answer's way back


class Prices(Protocol):
    async def prices(self, skus: list[str]) -> dict[str, int]: ...


class Store(Protocol):
    async def place(self, order: Order, key: str, body: Any, traceparent: str) -> Order | None: ...
    async def by_key(self, user_id: str, key: str) -> tuple[Order, str] | None: ...
    async def get(self, order_id: str) -> Order | None: ...
    async def list_of(self, user_id: str, limit: int, before: str | None) -> list[Order]: ...
    async def cancel(self, order_id: str, traceparent: str) -> Progress | None: ...


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
        known = await self._order_of_key(user_id, key, body)
        if known is not None:
            REPLAYED.inc()
            return known, True
        prices = await self._products.prices([sku for sku, _ in quantities])
        lines = price(quantities, prices)
        wanted = Order(new_id(), user_id, email, lines, card_number, total_cents=total_cents(lines))
        traceparent = signals.trace_headers().get("traceparent", "")
        order = await self._store.place(wanted, key, body, traceparent)
        if order is None:  # a concurrent request with the same key was faster
            known = await self._order_of_key(user_id, key, body)
            assert known is not None, "the key was taken, so its order exists"
            REPLAYED.inc()
            return known, True
        FRESH.inc()
        await self._wait(self._runner.start(Progress(order)))
        return await self._get(order.id), False

    async def _order_of_key(self, user_id: str, key: str, body: Any) -> Order | None:
        """The order that this key placed. Waits for its saga if it is still pending."""
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
        progress = await self._store.cancel(order_id, traceparent)
        if progress is not None:
            await self._wait(self._runner.start(progress))
        else:
            await self._wait_cancelled(order_id)
        return await self._get(order_id)

    async def _wait_cancelled(self, order_id: str) -> None:
        wait_until = self._clock.monotonic() + self._wait_s()
        while self._clock.monotonic() < wait_until:
            if (await self._get(order_id)).status == "cancelled":
                return
            await self._clock.sleep(0.05)

    async def _wait(self, saga: asyncio.Task[None]) -> None:
        """Wait until the saga ends or is parked, but not past the deadline. The saga continues anyway."""
        await asyncio.wait([saga], timeout=self._wait_s())

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
