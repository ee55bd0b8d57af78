"""One order with its payment and mails. The order is required, the other parts are optional."""

import asyncio
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from chassis.http.client import ServiceClient
from chassis.resilience.errors import CallError
from shop.gateway.forward import public_response


class OrderDetails:
    """`part_timeout_s`: how long an answer waits for its optional parts."""

    def __init__(
        self,
        orders: ServiceClient,
        payments: ServiceClient,
        notifications: ServiceClient,
        part_timeout_s: float,
    ) -> None:
        self._orders = orders
        self._payments = payments
        self._notifications = notifications
        self._part_timeout_s = part_timeout_s

    async def read(self, order_id: str, token: str) -> Response:
        """The order with `payment`, `mails` and `degraded`, or the orders service's refusal. Raises CallError."""
        parts = asyncio.gather(self._payment(order_id, token), self._mails(order_id, token))
        parts.add_done_callback(_retrieve)
        try:
            order = await self._orders.get(
                f"/orders/{order_id}", token=token, route="/orders/{order_id}"
            )
            if order.status != 200:
                return public_response(order)
            (payment, payment_ok), (mails, mails_ok) = await parts
        finally:
            parts.cancel()  # without the order, the parts are not needed
        degraded = [name for name, ok in (("payment", payment_ok), ("mails", mails_ok)) if not ok]
        return JSONResponse(
            {**order.body, "payment": payment, "mails": mails or [], "degraded": degraded}
        )

    async def _payment(self, order_id: str, token: str) -> tuple[Any, bool]:
        path, route = f"/payments/{order_id}", "/payments/{order_id}"
        return await self._optional(self._payments, path, token, route=route)

    async def _mails(self, order_id: str, token: str) -> tuple[Any, bool]:
        params = {"order_id": order_id}
        client = self._notifications
        found, ok = await self._optional(client, "/notifications", token, params=params)
        return (found or {}).get("items", []), ok

    async def _optional(
        self, client: ServiceClient, path: str, token: str, *, route: str = "", params: Any = None
    ) -> tuple[Any, bool]:
        """The body (None if there is none yet), and whether the service answered."""
        try:
            answer = await client.get(
                path, params=params, token=token, route=route, timeout_s=self._part_timeout_s
            )
            body = answer.body
        except (CallError, ValueError):
            return None, False
        if answer.status == 404:
            return None, True
        return (body, True) if answer.status == 200 else (None, False)


def _retrieve(parts: asyncio.Future[Any]) -> None:
    """Look at the outcome, because asyncio logs an error for parts that were cancelled and never awaited."""
    if not parts.cancelled():
        parts.exception()
