"""The reconciler on the real PostgreSQL, with a manual clock."""

from datetime import datetime, timedelta

import pytest
from asyncpg import Pool

from chassis.clock import SystemClock
from chassis.ids import new_id
from shop.payments.domain import BankUnavailableError, PaymentUnknownError, Purchase, Status
from shop.payments.payments import Payments
from shop.payments.reconciler import PAYMENTS_IN_DOUBT, Reconciler
from shop.payments.store import PaymentStore
from tests.shop.payments.fakes import NOW, Behaviour, FakeBank


class ManualClock(SystemClock):
    """A wall clock that the test advances."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


class Setup:
    def __init__(self, pool: Pool) -> None:
        self.clock = ManualClock()
        self.bank = FakeBank()
        self.store = PaymentStore(pool)
        self.payments = Payments(self.store, self.bank, now=self.clock.now, new_id=new_id)
        self.reconciler = Reconciler(self.payments, self.store, self.clock, after_s=5, period_s=1)

    async def in_doubt(self, behaviour: Behaviour) -> str:
        """An order whose authorization had this outcome."""
        wanted = Purchase(new_id(), new_id(), 500, "EUR", "4242424242424242")
        self.bank.behaviour = behaviour
        with pytest.raises((PaymentUnknownError, BankUnavailableError)):
            await self.payments.authorize(wanted)
        self.bank.behaviour = Behaviour.NORMAL
        return wanted.order_id

    async def status(self, order_id: str) -> Status:
        return (await self.payments.get(order_id)).status

    def wait(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)


@pytest.fixture
def setup(pool: Pool) -> Setup:
    return Setup(pool)


async def test_a_payment_in_doubt_is_reconciled_after_a_while_not_before(setup: Setup) -> None:
    order_id = await setup.in_doubt(Behaviour.LOST_ANSWER)
    setup.wait(4)
    await setup.reconciler.sweep()
    assert await setup.status(order_id) is Status.AUTHORIZING
    assert PAYMENTS_IN_DOUBT._value.get() == 1
    setup.wait(2)
    await setup.reconciler.sweep()
    assert await setup.status(order_id) is Status.AUTHORIZED
    assert PAYMENTS_IN_DOUBT._value.get() == 0


async def test_a_bank_without_answer_ends_the_round_and_a_later_round_continues(
    setup: Setup,
) -> None:
    order_id = await setup.in_doubt(Behaviour.LOST_ANSWER)
    setup.wait(6)
    setup.bank.deaf = True
    await setup.reconciler.sweep()
    assert await setup.status(order_id) is Status.AUTHORIZING
    setup.bank.deaf = False
    setup.wait(6)
    await setup.reconciler.sweep()
    assert await setup.status(order_id) is Status.AUTHORIZED


async def test_an_undecided_payment_does_not_block_the_others(setup: Setup) -> None:
    undecided = await setup.in_doubt(Behaviour.LOST_CALL)
    decided = await setup.in_doubt(Behaviour.LOST_ANSWER)
    setup.wait(6)
    await setup.reconciler.sweep()
    assert await setup.status(undecided) is Status.AUTHORIZING
    assert await setup.status(decided) is Status.AUTHORIZED
