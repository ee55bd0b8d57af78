"""One order with its payment and its mails: the order must be had, the rest is shown if it can be."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from chassis.http.client import ServiceClient
from chassis.http.response import Response as Answer
from chassis.resilience.errors import CallError
from shop.gateway.forward import passed_back


class OrderDetails:
    """`patience_s`: how long an answer waits for its optional parts."""

    def __init__(
        self,
        orders: ServiceClient,
        payments: ServiceClient,
        notifications: ServiceClient,
        patience_s: float,
    ) -> None:
        self._orders = orders
        self._payments = payments
        self._notifications = notifications
        self._patience_s = patience_s

    async def read(self, order_id: str, token: str) -> Response:
        """The order with `payment`, `mails` and `degraded`, or the order's own refusal. Raises CallError."""
        parts = asyncio.gather(self._payment(order_id, token), self._mails(order_id, token))
        try:
            order = await self._orders.get(
                f"/orders/{order_id}", token=token, route="/orders/{order_id}"
            )
            if order.status != 200:
                return passed_back(order)
            (payment, payment_ok), (mails, mails_ok) = await parts
        finally:
            parts.cancel()  # no order, no use for the rest
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
                timeout_s=self._patience_s,
            )
        )

    async def _mails(self, order_id: str, token: str) -> tuple[Any, bool]:
        found, ok = await _optional(
            self._notifications.get(
                "/notifications",
                params={"order_id": order_id},
                token=token,
                route="/notifications",
                timeout_s=self._patience_s,
            )
        )
        return (found or {}).get("items", []), ok


async def _optional(call: Awaitable[Answer]) -> tuple[Any, bool]:
    """The body, None where there is nothing yet, and whether this is the truth."""
    try:
        answer = await call
        body = answer.body
    except (CallError, ValueError):
        return None, False
    if answer.status == 404:
        return None, True
    return (body, True) if answer.status == 200 else (None, False)
