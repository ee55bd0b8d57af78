"""Orders, their prices and the reasons to refuse them. No I/O, no framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CURRENCY = "EUR"
QUANTITY_MAX = 100  # of one SKU in one order
TOTAL_CENTS_MAX = 100_000_000  # what payments accepts


class OrderError(Exception):
    """A refusal for the customer. It carries `order_id` if there is an order."""

    def __init__(self, message: str, order_id: str = "") -> None:
        super().__init__(message)
        self.extra: dict[str, Any] = {"order_id": order_id} if order_id else {}
        self.headers: dict[str, str] = {}


class UnknownSkuError(OrderError):
    """There is no such product."""


class OutOfStockError(OrderError):
    """Not enough in stock. Definite: nothing was reserved."""


class PaymentDeclinedError(OrderError):
    """The card was declined. Definite: no money was moved."""


class PaymentUnavailableError(OrderError):
    """The payment was not possible in time. The order is cancelled and nothing was charged."""


class OrderTooLargeError(OrderError):
    """More than one payment may be. Definite: nothing was placed."""


class OrderRefusedError(OrderError):
    """A service refused a part of the order. Definite: nothing was charged."""


class OrderNotFoundError(OrderError):
    """There is no such order, or it belongs to another user: both get the same answer."""


# reason of the cancellation -> error for the customer
REASONS: dict[str, type[OrderError]] = {
    "out_of_stock": OutOfStockError,
    "unknown_sku": UnknownSkuError,
    "payment_declined": PaymentDeclinedError,
    "unavailable": PaymentUnavailableError,
}
EXPLANATIONS = {
    "out_of_stock": "not enough of a product is in stock",
    "unknown_sku": "a product of the order is unknown",
    "payment_declined": "the bank declined the card",
    "unavailable": "the payment was not possible in time; nothing was charged",
}


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class Order:
    """`status` is pending, confirmed or cancelled; `reason` is why it was cancelled."""

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
    """Order lines with current prices, one per SKU, sorted by SKU. Raises UnknownSkuError, OrderTooLargeError."""
    merged: dict[str, int] = {}
    for sku, quantity in quantities:
        merged[sku] = merged.get(sku, 0) + quantity
    for sku, quantity in merged.items():
        if quantity > QUANTITY_MAX:
            raise OrderTooLargeError(
                f"{quantity} of {sku}: an order may have at most {QUANTITY_MAX}"
            )
    unknown = sorted(sku for sku in merged if sku not in prices)
    if unknown:
        raise UnknownSkuError(f"unknown SKU: {', '.join(unknown)}")
    # sorted: a resumed saga repeats the key, so it must send exactly the same lines
    return tuple(Line(sku, quantity, prices[sku]) for sku, quantity in sorted(merged.items()))


def total_cents(lines: Sequence[Line]) -> int:
    """The order's price. Raises OrderTooLargeError above TOTAL_CENTS_MAX."""
    total = sum(line.quantity * line.price_cents for line in lines)
    if total > TOTAL_CENTS_MAX:
        raise OrderTooLargeError(f"an order may cost at most {TOTAL_CENTS_MAX // 100:,} {CURRENCY}")
    return total


def refusal(reason: str, order_id: str) -> OrderError | None:
    """The error for a cancelled order; None if the customer cancelled it."""
    if reason == "customer":
        return None
    error = REASONS.get(reason)
    if error is None:
        words = reason.replace("-", " ").replace("_", " ")
        return OrderRefusedError(f"the order was refused: {words}; nothing was charged", order_id)
    return error(EXPLANATIONS[reason], order_id)
