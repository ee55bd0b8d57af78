"""HTTP edge of payments: parse, call the application, answer. It contains no business rules."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from asyncpg import Pool
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from chassis.http.auth import User, called_by
from chassis.http.body import Body
from chassis.http.idempotency import IdempotencyKey, KeyUse
from chassis.http.state import from_state
from chassis.ids import new_id
from chassis.service import Service, create_app
from shop.payments.clients import BankClient
from shop.payments.domain import (
    BankUnavailableError,
    Operation,
    Payment,
    PaymentDeclinedError,
    PaymentDiffersError,
    PaymentNotFoundError,
    PaymentUnknownError,
    PaymentVoidedError,
    Purchase,
    WrongStateError,
)
from shop.payments.payments import Payments
from shop.payments.reconciler import Reconciler
from shop.payments.store import PaymentStore


class Authorize(Body):
    """Authorize the payment of one order."""

    order_id: UUID
    user_id: UUID
    amount_cents: int = Field(gt=0, le=100_000_000, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    card_number: str = Field(pattern=r"^[0-9]{12,19}$")

    def purchase(self) -> Purchase:
        return Purchase(
            str(self.order_id),
            str(self.user_id),
            self.amount_cents,
            self.currency,
            self.card_number,
        )


class PaymentView(BaseModel):
    """The public form of a payment. Amounts are cents of `currency`."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    order_id: str
    status: str
    amount_cents: int
    captured_cents: int
    refunded_cents: int
    currency: str


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    settings = service.settings
    pool = service.state.pool = await service.database()
    store = PaymentStore(pool)
    payments = service.state.payments = Payments(
        store,
        BankClient(service.client("bank")),
        now=service.clock.now,
        new_id=new_id,
        idempotent=settings.idempotency,
    )
    reconciler = Reconciler(
        payments,
        store,
        service.clock,
        after_s=settings.number("RECONCILE_AFTER_S", 5.0),
        period_s=settings.number("RECONCILE_PERIOD_S", 1.0),
    )
    service.background("reconcile payments", reconciler.run)
    yield


app = create_app(
    "payments",
    problems={
        PaymentDeclinedError: 402,
        PaymentNotFoundError: 404,
        PaymentVoidedError: 409,
        PaymentDiffersError: 409,
        WrongStateError: 409,
        PaymentUnknownError: 503,
        BankUnavailableError: 503,
    },
    start=start,
)


PaymentsDep = Annotated[Payments, from_state("payments")]
PoolDep = Annotated[Pool, from_state("pool")]
FromOrders = Annotated[str, called_by("orders")]
Reader = Annotated[User | str, called_by("orders", users=True)]


@app.post("/payments", status_code=201)
async def authorize(
    body: Authorize, key: IdempotencyKey, _: FromOrders, payments: PaymentsDep, pool: PoolDep
) -> Response:
    purchase = body.purchase()
    return await answer(
        pool, Operation.AUTHORIZE, key, body, 201, lambda use: payments.authorize(purchase, use)
    )


@app.post("/payments/{order_id}/capture")
async def capture(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, payments: PaymentsDep, pool: PoolDep
) -> Response:
    of = {"order_id": str(order_id)}
    return await answer(
        pool, Operation.CAPTURE, key, of, 200, lambda use: payments.capture(str(order_id), use)
    )


@app.post("/payments/{order_id}/void")
async def void(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, payments: PaymentsDep, pool: PoolDep
) -> Response:
    of = {"order_id": str(order_id)}
    return await answer(
        pool, Operation.VOID, key, of, 200, lambda use: payments.void(str(order_id), use)
    )


@app.post("/payments/{order_id}/refund")
async def refund(
    order_id: UUID, key: IdempotencyKey, _: FromOrders, payments: PaymentsDep, pool: PoolDep
) -> Response:
    of = {"order_id": str(order_id)}
    return await answer(
        pool, Operation.REFUND, key, of, 200, lambda use: payments.refund(str(order_id), use)
    )


@app.get("/payments/{order_id}")
async def read_payment(order_id: UUID, caller: Reader, payments: PaymentsDep) -> PaymentView:
    payment = await payments.get(str(order_id))
    if isinstance(caller, User) and caller.id != payment.user_id:
        # not 403: it would reveal that the order exists
        raise PaymentNotFoundError(f"no payment for order {order_id}")
    return PaymentView.model_validate(payment)


async def answer(
    pool: Pool,
    operation: Operation,
    key: str,
    body: BaseModel | dict[str, Any],
    status: int,
    run: Callable[[KeyUse], Awaitable[Payment]],
) -> Response:
    """Give the same answer for the same key. The state machine ensures that there is one effect.

    The key's row is not locked during the call to the bank: that would hold a database connection.
    """
    scope = f"payments.{operation}"
    with KeyUse(scope, key, body, status, PaymentView.model_validate) as use:
        payment = await run(use)
        if use.stored is None:  # the bank was not called, or another request stored an answer
            async with pool.acquire() as conn:
                await use.keep(conn, payment)
    return use.response()
