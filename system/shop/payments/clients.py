"""Calls the bank over HTTP, and turns its answers and failures into those of the domain."""

from collections.abc import Mapping
from typing import Any

from chassis.http.client import ServiceClient
from chassis.http.response import Response
from chassis.resilience.errors import CallError
from shop.payments.domain import (
    Authorization,
    BankRefusedError,
    NoBankAnswerError,
    Operation,
    Purchase,
)

# the bank refused the operation; any other error status is a bug in payments
REFUSALS = frozenset({404, 409, 422})


class BankClient:
    """The protocol `Bank` over HTTP."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def authorize(self, purchase: Purchase, key: str) -> Authorization:
        body = {
            "reference": purchase.order_id,
            "amount_cents": purchase.amount_cents,
            "currency": purchase.currency,
            "card_number": purchase.card_number,
        }
        response = await self._post("/authorizations", key=key, json=body)
        if response.status == 402:
            return _authorization({**response.body, "status": "declined"})
        return _authorization(_accepted(response))

    async def change(self, operation: Operation, authorization_id: str, key: str) -> Authorization:
        response = await self._post(
            f"/authorizations/{authorization_id}/{operation}",
            key=key,
            route=f"/authorizations/{{authorization_id}}/{operation}",
        )
        return _authorization(_accepted(response))

    async def cancel(self, reference: str, key: str) -> Authorization | None:
        response = await self._post("/cancellations", key=key, json={"reference": reference})
        items = _accepted(response)["items"]
        return _authorization(items[-1]) if items else None

    async def of_reference(self, reference: str) -> list[Authorization]:
        try:
            response = await self._client.get(
                "/authorizations", params={"reference": reference}, route="/authorizations"
            )
        except CallError as error:
            raise NoBankAnswerError(error.definite, error.retry_after_s) from error
        return [_authorization(item) for item in _accepted(response)["items"]]

    async def _post(self, path: str, *, key: str, json: Any = None, route: str = "") -> Response:
        try:
            return await self._client.post(path, json=json, key=key, route=route or path)
        except CallError as error:
            raise NoBankAnswerError(error.definite, error.retry_after_s) from error


def _accepted(response: Response) -> Mapping[str, Any]:
    """The body of a successful answer. Raises BankRefusedError."""
    body = response.body
    detail = body.get("detail", "") if isinstance(body, dict) else ""
    if response.status in REFUSALS:
        raise BankRefusedError(detail)
    if response.status >= 400:
        raise RuntimeError(f"the bank answered {response.status}: {detail}")
    return dict(body)


def _authorization(body: Mapping[str, Any]) -> Authorization:
    return Authorization(
        id=body["id"],
        status=body["status"],
        captured_cents=body.get("captured_cents", 0),
        refunded_cents=body.get("refunded_cents", 0),
        reason=body.get("reason", ""),
    )
