"""Orders: limits, and an answer to the customer for every reason of a cancellation."""

import inspect
from types import ModuleType

import pytest

import shop.bank.domain
import shop.inventory.domain
import shop.payments.app
import shop.payments.domain
from chassis.http.problems import words
from shop.orders.app import app
from shop.orders.domain import (
    QUANTITY_MAX,
    REASONS,
    TOTAL_CENTS_MAX,
    Line,
    OrderError,
    OrderTooLargeError,
    price,
    refusal,
    total_cents,
)


def problem_kinds(module: ModuleType) -> list[str]:
    return [
        "-".join(words(error)).lower()
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, Exception) and error.__module__ == module.__name__
    ]


KINDS = [
    *REASONS,
    *problem_kinds(shop.inventory.domain),
    *problem_kinds(shop.payments.domain),
    *problem_kinds(shop.bank.domain),
    "invalid-request",
    "invalid-value",
    "reserve 418",
]


@pytest.mark.parametrize("reason", KINDS)
def test_each_reason_of_a_service_is_a_refusal_with_a_status_for_the_customer(reason: str) -> None:
    error = refusal(reason, "o1")
    assert isinstance(error, OrderError)
    assert error.extra == {"order_id": "o1"}
    assert str(error)
    assert type(error) in app.exception_handlers


def test_the_customers_own_cancellation_is_no_refusal() -> None:
    assert refusal("customer", "o1") is None


def test_lines_of_one_sku_are_limited_together() -> None:
    prices = {"A": 1}
    assert price([("A", QUANTITY_MAX - 1), ("A", 1)], prices) == (Line("A", QUANTITY_MAX, 1),)
    with pytest.raises(OrderTooLargeError, match="at most 100"):
        price([("A", QUANTITY_MAX), ("A", 1)], prices)


def test_a_total_that_no_payment_may_have_is_refused() -> None:
    assert total_cents([Line("A", 1, TOTAL_CENTS_MAX)]) == TOTAL_CENTS_MAX
    with pytest.raises(OrderTooLargeError, match="at most 1,000,000 EUR"):
        total_cents([Line("A", 1, TOTAL_CENTS_MAX), Line("B", 1, 1)])


def test_payments_accepts_every_total_that_orders_accepts() -> None:
    limit = shop.payments.app.Authorize.model_fields["amount_cents"].metadata
    assert TOTAL_CENTS_MAX in [getattr(each, "le", None) for each in limit]
