"""What an order is and when one may be placed. No I/O, no framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CURRENCY = "EUR"


class OrderError(Exception):
    """A refusal that the customer is told; `order_id` goes with it if there is an order."""

    def __init__(self, message: str, order_id: str = "") -> None:
        super().__init__(message)
        self.extra: dict[str, Any] = {"order_id": order_id} if order_id else {}


class UnknownSkuError(OrderError):
    """No such product."""


class OutOfStockError(OrderError):
    """Definite: nothing was reserved."""


class PaymentDeclinedError(OrderError):
    """Definite: no money was moved."""


class PaymentUnavailableError(OrderError):
    """The payment could not be made in time; the order is cancelled and nothing is owed."""


class OrderNotFoundError(OrderError):
    """No such order, or someone else's: the two look the same from outside."""


# why an order was cancelled -> what the customer is told
REASONS: dict[str, type[OrderError]] = {
    "out_of_stock": OutOfStockError,
    "unknown_sku": UnknownSkuError,
    "payment_declined": PaymentDeclinedError,
    "unavailable": PaymentUnavailableError,
}
EXPLANATIONS = {
    "out_of_stock": "not enough of a product is in stock",
    "unknown_sku": "a product of the order is not known",
    "payment_declined": "the bank declined the card",
    "unavailable": "the payment could not be made in time; nothing was charged",
}


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class Order:
    """`status`: pending, confirmed or cancelled; `reason` says why it was cancelled."""

    id: str
    user_id: str
    email: str
    lines: tuple[Line, ...]
    card_number: str
    status: str = "pending"
    reason: str = ""
    currency: str = CURRENCY
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 1
    total_cents: int = field(default=0)


def price(quantities: Sequence[tuple[str, int]], prices: Mapping[str, int]) -> tuple[Line, ...]:
    """Order lines at today's prices, one a SKU, by SKU as the store reads them. Raises UnknownSkuError."""
    merged: dict[str, int] = {}
    for sku, quantity in quantities:
        merged[sku] = merged.get(sku, 0) + quantity
    unknown = sorted(sku for sku in merged if sku not in prices)
    if unknown:
        raise UnknownSkuError(f"unknown SKU: {', '.join(unknown)}")
    # sorted: a saga that is resumed must ask with the same key for the very same lines
    return tuple(Line(sku, quantity, prices[sku]) for sku, quantity in sorted(merged.items()))


def total_cents(lines: Sequence[Line]) -> int:
    return sum(line.quantity * line.price_cents for line in lines)


def refusal(reason: str, order_id: str) -> OrderError | None:
    """The error a customer gets for an order that was cancelled on the way, if it was a refusal."""
    error = REASONS.get(reason)
    return error(EXPLANATIONS[reason], order_id) if error else None
