"""One order with its payment and mails. The order is required, the other parts are optional."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from chassis.http.client import ServiceClient
from chassis.http.response import Response as Answer
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
        return await _optional(
            self._payments.get(
                f"/payments/{order_id}",
                token=token,
                route="/payments/{order_id}",
                timeout_s=self._part_timeout_s,
            )
        )

    async def _mails(self, order_id: str, token: str) -> tuple[Any, bool]:
        found, ok = await _optional(
            self._notifications.get(
                "/notifications",
                params={"order_id": order_id},
                token=token,
                route="/notifications",
                timeout_s=self._part_timeout_s,
            )
        )
        return (found or {}).get("items", []), ok


async def _optional(call: Awaitable[Answer]) -> tuple[Any, bool]:
    """The body (None if there is none yet), and whether the service answered."""
    try:
        answer = await call
        body = answer.body
    except (CallError, ValueError):
        return None, False
    if answer.status == 404:
        return None, True
    return (body, True) if answer.status == 200 else (None, False)
