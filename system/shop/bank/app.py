"""HTTP edge of the bank: parse, call the ledger, answer. It contains no business rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from asyncpg import Pool
from fastapi import Response
from pydantic import Field

from chassis.clock import Clock
from chassis.http.auth import called_by
from chassis.http.body import Body
from chassis.http.idempotency import IdempotencyKey, KeyUse, once
from chassis.http.state import from_state
from chassis.service import Service, create_app
from chassis.telemetry.metrics import counter, expose
from shop.bank.domain import (
    AuthorizationNotFoundError,
    CardDeclinedError,
    Kind,
    ReferenceCancelledError,
    Status,
    WrongStateError,
)
from shop.bank.store import Ledger

Reference = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]


class Authorize(Body):
    """Hold `amount_cents` on a card."""

    reference: Reference
    amount_cents: int = Field(gt=0, le=100_000_000, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    card_number: str = Field(pattern=r"^[0-9]{12,19}$")


class Cancel(Body):
    """Cancel a reference. A merchant uses it when it got no answer to its authorization."""

    reference: Reference


REQUESTS = counter("bank_requests", "Decisions of the bank", ("operation", "result"))


class Bank:
    """The ledger, with its pool and clock, as the routes use it."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool = pool
        self.clock = clock
        self.ledger = Ledger(pool)

    async def move(self, kind: Kind, authorization_id: UUID, key: str) -> Response:
        target = str(authorization_id)
        with KeyUse(f"bank.{kind}", key, {"id": target}, 200) as use:
            try:
                await self.ledger.move(use, kind, target, key=key, now=self.clock.now())
            except WrongStateError:
                REQUESTS.labels(kind.value, "refused").inc()
                raise
            REQUESTS.labels(kind.value, "approved").inc()
        return use.response()


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    expose(REQUESTS)
    service.state.bank = Bank(await service.database(), service.clock)
    yield


app = create_app(
    "bank",
    problems={
        CardDeclinedError: 402,
        AuthorizationNotFoundError: 404,
        WrongStateError: 409,
        ReferenceCancelledError: 409,
    },
    start=start,
)


BankDep = Annotated[Bank, from_state("bank")]
FromPayments = Annotated[str, called_by("payments")]


@app.post("/authorizations", status_code=201)
async def authorize(
    body: Authorize, key: IdempotencyKey, _: FromPayments, bank: BankDep
) -> Response:
    with KeyUse("bank.authorize", key, body, 201) as use:
        made = await bank.ledger.authorize(use, **body.model_dump(), key=key, now=bank.clock.now())
        declined = made.status is Status.DECLINED
        REQUESTS.labels("authorize", "declined" if declined else "approved").inc()
        if declined:
            # it is stored, so the same key is declined again
            raise CardDeclinedError(made)
    return use.response()


@app.post("/authorizations/{authorization_id}/capture")
async def capture(
    authorization_id: UUID, key: IdempotencyKey, _: FromPayments, bank: BankDep
) -> Response:
    return await bank.move(Kind.CAPTURE, authorization_id, key)


@app.post("/authorizations/{authorization_id}/void")
async def void(
    authorization_id: UUID, key: IdempotencyKey, _: FromPayments, bank: BankDep
) -> Response:
    return await bank.move(Kind.VOID, authorization_id, key)


@app.post("/authorizations/{authorization_id}/refund")
async def refund(
    authorization_id: UUID, key: IdempotencyKey, _: FromPayments, bank: BankDep
) -> Response:
    return await bank.move(Kind.REFUND, authorization_id, key)


@app.post("/cancellations")
async def cancel(body: Cancel, key: IdempotencyKey, _: FromPayments, bank: BankDep) -> Response:
    async with (
        bank.pool.acquire() as conn,
        conn.transaction(),
        once(conn, scope="bank.cancel", key=key, body=body) as attempt,
    ):
        if attempt.stored:
            return attempt.stored.response()
        items = await bank.ledger.cancel(conn, body.reference, key=key, now=bank.clock.now())
        return attempt.record(200, {"items": items}).response()


@app.get("/authorizations")
async def list_authorizations(
    reference: Reference, _: FromPayments, bank: BankDep
) -> dict[str, Any]:
    return {"items": await bank.ledger.of_reference(reference)}
