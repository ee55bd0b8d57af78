"""Asks the bank about payments that were left in between: a crash, a time-out, nobody asking again."""

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
IN_DOUBT = gauge("payments_in_doubt", "Payments whose last question to the bank has no answer yet")
BATCH = 20


class Stuck(Protocol):
    async def claim_stuck(
        self, before: datetime, now: datetime, limit: int
    ) -> Sequence[Payment]: ...
    async def in_doubt(self) -> int: ...


class Reconciler:
    """Every `period_s`, takes up what has been in between for `after_s` and was not looked at since."""

    def __init__(
        self, payments: Payments, store: Stuck, clock: Clock, *, after_s: float, period_s: float
    ) -> None:
        self._payments = payments
        self._store = store
        self._clock = clock
        self._after = timedelta(seconds=after_s)
        self._period_s = period_s

    async def run(self) -> None:
        expose(IN_DOUBT)
        while True:
            await self.sweep()
            await self._clock.sleep(self._period_s)

    async def sweep(self) -> None:
        """One round; a bank that is silent ends it."""
        now = self._clock.now()
        for payment in await self._store.claim_stuck(now - self._after, now, BATCH):
            where = {"order_id": payment.order_id, "was": payment.status.value}
            try:
                settled = await self._payments.reconcile(payment)
            except WrongStateError as wrong:
                log.info("reconciled", extra={**where, "now": wrong.payment.status.value})
            except (NoBankAnswerError, BankUnavailableError, PaymentUnknownError) as silence:
                log.warning("cannot reconcile: %s", silence, extra=where)
                break
            else:
                if settled.status is not payment.status:
                    log.info("reconciled", extra={**where, "now": settled.status.value})
        IN_DOUBT.set(await self._store.in_doubt())
