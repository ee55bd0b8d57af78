"""Resolves payments in doubt: after a crash, or after a timeout without a retry."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from chassis.clock import Clock
from chassis.telemetry.metrics import expose, gauge
from shop.payments.domain import (
    BankUnavailableError,
    NoBankAnswerError,
    Payment,
    PaymentUnknownError,
    WrongStateError,
)
from shop.payments.payments import Payments

log = logging.getLogger("payments.reconciler")
PAYMENTS_IN_DOUBT = gauge(
    "payments_in_doubt", "Payments whose last call to the bank has no answer yet"
)
BATCH = 20


class Store(Protocol):
    async def claim_in_doubt(
        self, before: datetime, now: datetime, limit: int
    ) -> Sequence[Payment]: ...
    async def in_doubt(self) -> int: ...


class Reconciler:
    """Every `period_s` reconciles the payments that have been in doubt for `after_s`."""

    def __init__(
        self, payments: Payments, store: Store, clock: Clock, *, after_s: float, period_s: float
    ) -> None:
        self._payments = payments
        self._store = store
        self._clock = clock
        self._after = timedelta(seconds=after_s)
        self._period_s = period_s

    async def run(self) -> None:
        expose(PAYMENTS_IN_DOUBT)
        while True:
            await self.sweep()
            await self._clock.sleep(self._period_s)

    async def sweep(self) -> None:
        """Reconcile one batch. A bank that does not answer ends the round."""
        now = self._clock.now()
        for payment in await self._store.claim_in_doubt(now - self._after, now, BATCH):
            fields = {"order_id": payment.order_id, "was": payment.status.value}
            try:
                settled = await self._payments.reconcile(payment)
            except WrongStateError as error:
                log.info("reconciled", extra={**fields, "now": error.payment.status.value})
            except (NoBankAnswerError, BankUnavailableError, PaymentUnknownError) as error:
                log.warning("cannot reconcile: %s", error, extra=fields)
                break
            else:
                if settled.status is not payment.status:
                    log.info("reconciled", extra={**fields, "now": settled.status.value})
        PAYMENTS_IN_DOUBT.set(await self._store.in_doubt())
