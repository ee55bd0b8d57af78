"""Payments with a fake bank that can be slow, fail or lose answers; no database, no network."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.payments.domain import (
    ACCEPTED_IN,
    IN_DOUBT,
    TRANSITIONS,
    BankRefusedError,
    BankUnavailableError,
    NoBankAnswerError,
    Operation,
    Outcome,
    Payment,
    PaymentDeclinedError,
    PaymentDiffersError,
    PaymentNotFoundError,
    PaymentUnknownError,
    PaymentVoidedError,
    Purchase,
    Status,
    WrongStateError,
)
from shop.payments.payments import Payments
from tests.shop.payments.fakes import DECLINED_CARD, NOW, Behaviour, Crashed, FakeBank, FakeStore

GOOD = Purchase("order-1", "user-1", 500, "EUR", "4242424242424242")
REFUSED = Purchase("order-1", "user-1", 500, "EUR", DECLINED_CARD)


class Shop:
    """Payments with its fakes."""

    def __init__(self, idempotent: bool = True) -> None:
        self.bank = FakeBank()
        self.store = FakeStore()
        ids = itertools.count(1)
        self.payments = Payments(
            self.store,
            self.bank,
            now=lambda: NOW,
            new_id=lambda: f"id-{next(ids)}",
            idempotent=idempotent,
        )

    @property
    def status(self) -> Status:
        return self.store.payments["order-1"].status

    async def captured(self) -> Payment:
        await self.payments.authorize(GOOD)
        return await self.payments.capture("order-1")


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_payment_is_authorized_captured_and_refunded(shop: Shop) -> None:
    assert (await shop.payments.authorize(GOOD)).status is Status.AUTHORIZED
    assert (await shop.payments.capture("order-1")).captured_cents == 500
    assert (await shop.payments.refund("order-1")).status is Status.REFUNDED
    assert [entry[1] for entry in shop.bank.ledger] == ["authorize", "capture", "refund"]


async def test_a_declined_card_stays_declined_without_another_call(shop: Shop) -> None:
    for _ in range(2):
        with pytest.raises(PaymentDeclinedError) as declined:
            await shop.payments.authorize(REFUSED)
        assert declined.value.extra == {"order_id": "order-1", "reason": "card_declined"}
    assert shop.bank.calls == ["authorize"]
    assert (await shop.payments.void("order-1")).status is Status.DECLINED


async def test_the_state_is_stored_before_the_call_to_the_bank(shop: Shop) -> None:
    shop.bank.behaviour = Behaviour.CRASH
    with pytest.raises(Crashed):
        await shop.payments.authorize(GOOD)
    assert shop.status is Status.AUTHORIZING
    assert shop.store.calls[0][3] is Outcome.ASKED


@pytest.mark.parametrize("behaviour", [Behaviour.LOST_CALL, Behaviour.LOST_ANSWER])
@pytest.mark.parametrize("operation", list(Operation))
async def test_no_answer_is_indefinite_and_a_retry_acts_once(
    shop: Shop, behaviour: Behaviour, operation: Operation
) -> None:
    operate = await prepared(shop, operation)
    shop.bank.behaviour = behaviour
    with pytest.raises(PaymentUnknownError) as unknown:
        await operate()
    assert unknown.value.extra["definite"] is False
    assert shop.status is TRANSITIONS[operation].during
    shop.bank.behaviour = Behaviour.NORMAL
    assert (await operate()).status in TRANSITIONS[operation].ends
    assert [entry[1] for entry in shop.bank.ledger].count(operation) == 1


async def test_a_call_that_was_not_sent_is_definite_and_can_be_retried(shop: Shop) -> None:
    shop.bank.behaviour = Behaviour.NOT_SENT
    with pytest.raises(BankUnavailableError) as unavailable:
        await shop.payments.authorize(GOOD)
    assert unavailable.value.extra == {"order_id": "order-1", "definite": True}
    assert unavailable.value.retry_after_s == 3.0
    shop.bank.behaviour = Behaviour.NORMAL
    assert (await shop.payments.authorize(GOOD)).status is Status.AUTHORIZED


async def test_a_breaker_that_opens_after_a_lost_answer_does_not_make_it_definite(
    shop: Shop,
) -> None:
    shop.bank.behaviour = Behaviour.LOST_ANSWER
    with pytest.raises(PaymentUnknownError):
        await shop.payments.authorize(GOOD)
    shop.bank.behaviour = Behaviour.NOT_SENT
    with pytest.raises(PaymentUnknownError):
        await shop.payments.authorize(GOOD)


async def test_void_of_an_unknown_order_refuses_a_late_authorization(shop: Shop) -> None:
    assert (await shop.payments.void("order-1")).status is Status.VOIDED
    with pytest.raises(PaymentVoidedError):
        await shop.payments.authorize(GOOD)
    assert shop.bank.calls == []


async def test_void_makes_no_call_if_no_authorization_was_sent(shop: Shop) -> None:
    shop.bank.behaviour = Behaviour.NOT_SENT
    with pytest.raises(BankUnavailableError):
        await shop.payments.authorize(GOOD)
    assert (await shop.payments.void("order-1")).status is Status.VOIDED
    assert shop.bank.calls == ["authorize"]


async def test_a_void_overtakes_an_authorization_in_flight(shop: Shop) -> None:
    shop.bank.behaviour = Behaviour.LATE
    with pytest.raises(PaymentUnknownError):
        await shop.payments.authorize(GOOD)
    shop.bank.behaviour = Behaviour.NORMAL
    assert (await shop.payments.void("order-1")).status is Status.VOIDED
    shop.bank.deliver_late()
    assert shop.bank.held == {}


async def test_a_void_after_a_capture_reports_captured(shop: Shop) -> None:
    await shop.payments.authorize(GOOD)
    shop.bank.behaviour = Behaviour.LOST_ANSWER
    with pytest.raises(PaymentUnknownError):
        await shop.payments.capture("order-1")
    shop.bank.behaviour = Behaviour.NORMAL
    with pytest.raises(WrongStateError) as wrong:
        await shop.payments.void("order-1")
    assert wrong.value.extra["status"] == "captured"
    assert (await shop.payments.refund("order-1")).refunded_cents == 500


async def test_a_void_before_a_capture_ends_it(shop: Shop) -> None:
    await shop.payments.authorize(GOOD)
    shop.bank.behaviour = Behaviour.LATE
    with pytest.raises(PaymentUnknownError):
        await shop.payments.capture("order-1")
    shop.bank.behaviour = Behaviour.NORMAL
    assert (await shop.payments.void("order-1")).status is Status.VOIDED
    shop.bank.deliver_late()
    assert shop.bank.captures("order-1") == 0
    with pytest.raises(WrongStateError):
        await shop.payments.capture("order-1")


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.REFUND])
async def test_an_operation_on_an_unknown_order_is_not_found(
    shop: Shop, operation: Operation
) -> None:
    with pytest.raises(PaymentNotFoundError):
        await getattr(shop.payments, operation)("order-1")


async def test_a_captured_payment_is_not_voided_and_an_uncaptured_one_not_refunded(
    shop: Shop,
) -> None:
    await shop.payments.authorize(GOOD)
    with pytest.raises(WrongStateError):
        await shop.payments.refund("order-1")
    await shop.payments.capture("order-1")
    with pytest.raises(WrongStateError):
        await shop.payments.void("order-1")


async def test_another_amount_for_the_same_order_is_refused(shop: Shop) -> None:
    await shop.payments.authorize(GOOD)
    with pytest.raises(PaymentDiffersError):
        await shop.payments.authorize(Purchase("order-1", "user-1", 501, "EUR", "4242424242424242"))


async def test_without_idempotency_a_repeated_capture_takes_the_money_twice() -> None:
    shop = Shop(idempotent=False)
    await shop.captured()
    again = await shop.payments.capture("order-1")
    assert again.captured_cents == 1000
    assert shop.bank.captures("order-1") == 2


async def test_without_idempotency_a_lost_answer_becomes_a_double_capture() -> None:
    shop = Shop(idempotent=False)
    await shop.payments.authorize(GOOD)
    shop.bank.behaviour = Behaviour.LOST_ANSWER
    with pytest.raises(PaymentUnknownError):
        await shop.payments.capture("order-1")
    shop.bank.behaviour = Behaviour.NORMAL
    await shop.payments.capture("order-1")
    assert shop.bank.captures("order-1") == 2


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Operation.AUTHORIZE, Status.AUTHORIZED),
        (Operation.CAPTURE, Status.CAPTURED),
        (Operation.VOID, Status.VOIDED),
        (Operation.REFUND, Status.REFUNDED),
    ],
)
async def test_the_reconciler_finds_the_outcome_after_a_crash(
    shop: Shop, operation: Operation, expected: Status
) -> None:
    operate = await prepared(shop, operation)
    shop.bank.behaviour = Behaviour.CRASH
    with pytest.raises(Crashed):
        await operate()
    shop.bank.behaviour = Behaviour.NORMAL
    calls = len(shop.bank.calls)
    assert (await shop.payments.reconcile(shop.store.payments["order-1"])).status is expected
    assert len(shop.bank.calls) == calls, "reading was enough"


@pytest.mark.parametrize("operation", [Operation.VOID, Operation.REFUND])
async def test_the_reconciler_completes_voids_and_refunds(shop: Shop, operation: Operation) -> None:
    operate = await prepared(shop, operation)
    shop.bank.behaviour = Behaviour.LOST_CALL
    with pytest.raises(PaymentUnknownError):
        await operate()
    shop.bank.behaviour = Behaviour.NORMAL
    settled = await shop.payments.reconcile(shop.store.payments["order-1"])
    assert settled.status in TRANSITIONS[operation].ends


async def test_the_reconciler_leaves_an_authorization_without_a_record_to_orders(
    shop: Shop,
) -> None:
    shop.bank.behaviour = Behaviour.LATE
    with pytest.raises(PaymentUnknownError):
        await shop.payments.authorize(GOOD)
    settled = await shop.payments.reconcile(shop.store.payments["order-1"])
    assert settled.status is Status.AUTHORIZING


def test_every_operation_can_be_repeated_and_every_answer_of_the_bank_is_accepted() -> None:
    for move in TRANSITIONS.values():
        assert move.during in move.starts
        assert not move.ends & move.starts
    assert frozenset().union(*ACCEPTED_IN.values()) == IN_DOUBT


STEPS = st.lists(
    st.tuples(st.sampled_from(list(Operation)), st.sampled_from(list(Behaviour))), max_size=9
)
EXPECTED = (
    PaymentUnknownError,
    BankUnavailableError,
    PaymentDeclinedError,
    PaymentVoidedError,
    PaymentNotFoundError,
    WrongStateError,
    NoBankAnswerError,
    BankRefusedError,
    Crashed,
)


@settings(max_examples=400, deadline=None)
@given(STEPS, st.sampled_from([GOOD, REFUSED]), st.sets(st.integers(0, 9)))
def test_payments_and_the_bank_agree_at_the_end_whatever_fails(
    steps: list[tuple[Operation, Behaviour]], purchase: Purchase, deliveries: set[int]
) -> None:
    """Operations with any outcome and late calls at any time; then orders voids or completes."""

    async def story() -> None:
        shop = Shop()
        for number, (operation, behaviour) in enumerate(steps):
            shop.bank.behaviour = behaviour
            try:
                await asker(shop, operation, purchase)()
            except BankUnavailableError:
                kinds = {entry[1] for entry in shop.bank.ledger}
                assert operation not in kinds, "reported as not happened, but it did"
            except EXPECTED:
                pass
            if number in deliveries:
                shop.bank.deliver_late()
            assert shop.bank.captures("order-1") <= 1
        shop.bank.behaviour = Behaviour.NORMAL
        try:
            settled = await shop.payments.void("order-1")
        except WrongStateError as wrong:
            settled = wrong.payment
            if settled.status is Status.REFUNDING:
                settled = await shop.payments.reconcile(settled)
        shop.bank.deliver_late()
        assert settled.status not in IN_DOUBT
        assert agrees(settled, shop.bank)

    asyncio.run(story())


def agrees(payment: Payment, bank: FakeBank) -> bool:
    """Whether payments and the bank agree about the order."""
    held = bank.held.get("order-1")
    if payment.status is Status.VOIDED:
        return held is None or held.status in ("voided", "declined")
    assert held is not None
    figures = (payment.captured_cents, payment.refunded_cents)
    return held.status == payment.status and figures == (held.captured_cents, held.refunded_cents)


def asker(
    shop: Shop, operation: Operation, purchase: Purchase = GOOD
) -> Callable[[], Awaitable[Payment]]:
    if operation is Operation.AUTHORIZE:
        return lambda: shop.payments.authorize(purchase)
    act: Callable[[str], Awaitable[Payment]] = getattr(shop.payments, operation)
    return lambda: act("order-1")


async def prepared(shop: Shop, operation: Operation) -> Callable[[], Awaitable[Payment]]:
    """Bring the payment into a state in which `operation` may start; returns the operation."""
    if operation is not Operation.AUTHORIZE:
        await shop.payments.authorize(GOOD)
    if operation is Operation.REFUND:
        await shop.payments.capture("order-1")
    return asker(shop, operation)
