"""Payments on the real PostgreSQL, with concurrent requests."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from asyncpg import Pool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.http.idempotency import AnsweredError, KeyReusedError, KeyUse, Stored
from chassis.ids import new_id
from shop.payments.app import PaymentView
from shop.payments.domain import (
    IN_DOUBT,
    TRANSITIONS,
    Authorization,
    BankUnavailableError,
    Operation,
    Outcome,
    Payment,
    PaymentNotFoundError,
    PaymentUnknownError,
    PaymentVoidedError,
    Purchase,
    Status,
    WrongStateError,
)
from shop.payments.payments import Payments
from shop.payments.store import PaymentStore
from tests.shop.payments.fakes import NOW, Behaviour, FakeBank

REFUSALS = (
    PaymentNotFoundError,
    PaymentUnknownError,
    PaymentVoidedError,
    BankUnavailableError,
    WrongStateError,
)


@pytest.fixture
def store(pool: Pool) -> PaymentStore:
    return PaymentStore(pool)


def purchase(amount_cents: int = 500) -> Purchase:
    return Purchase(new_id(), new_id(), amount_cents, "EUR", "4242424242424242")


async def opened(store: PaymentStore) -> tuple[Payment, int]:
    """A new payment, and its first call to the bank."""
    payment = purchase().payment(new_id())
    call = await store.begin_new(payment, Operation.AUTHORIZE, "k", NOW, None)
    assert call is not None
    return payment, call


async def test_the_first_purchase_of_an_order_stays(store: PaymentStore) -> None:
    made, _ = await opened(store)
    other = replace(made, id=new_id())
    assert await store.begin_new(other, Operation.AUTHORIZE, "k2", NOW, None) is None
    assert await store.get(made.order_id) == made
    assert await store.open_voided(made.order_id, new_id(), NOW) == made


async def test_a_call_begins_only_in_the_state_that_the_decision_was_based_on(
    store: PaymentStore, pool: Pool
) -> None:
    payment, _ = await opened(store)
    first = await store.begin(payment, Operation.VOID, Status.VOIDING, "k", NOW)
    late = await store.begin(payment, Operation.AUTHORIZE, Status.AUTHORIZING, "k2", NOW)
    assert first is not None
    assert late is None
    assert await pool.fetchval("SELECT count(*) FROM operations") == 2


async def test_a_call_that_was_not_sent_did_not_reach_the_bank(store: PaymentStore) -> None:
    payment, call = await opened(store)
    assert await store.may_have_reached_bank(payment.order_id, Operation.AUTHORIZE)
    await store.end(call, Outcome.NOT_SENT)
    assert not await store.may_have_reached_bank(payment.order_id, Operation.AUTHORIZE)


def key_use(key: str, order_id: str) -> KeyUse:
    body = {"order_id": order_id}
    return KeyUse("payments.authorize", key, body, 201, PaymentView.model_validate)


async def settled(store: PaymentStore, payment: Payment, use: KeyUse) -> Payment:
    """The payment, authorized by the bank; the answer for the key is stored with it."""
    ends = TRANSITIONS[Operation.AUTHORIZE].ends
    return await store.settle(
        payment.order_id,
        Status.AUTHORIZED,
        Authorization("bank-1", "authorized"),
        NOW,
        None,
        ends,
        use,
    )


async def test_the_answer_for_the_key_is_stored_with_the_payment(
    store: PaymentStore, pool: Pool
) -> None:
    payment, _ = await opened(store)
    use = key_use("key", payment.order_id)
    after = await settled(store, payment, use)
    assert use.stored == Stored(201, use.stored.text if use.stored else "")
    assert use.stored.body == PaymentView.model_validate(after).model_dump()
    again = key_use("key", payment.order_id)
    with pytest.raises(AnsweredError):
        await store.get(payment.order_id, again)
    assert again.stored == replace(use.stored, replayed=True)
    # of two requests that store an answer, the second one gets the first one's
    late = key_use("key", payment.order_id)
    await settled(store, payment, late)
    assert late.stored is None
    with pytest.raises(AnsweredError):
        await late.keep(await pool.acquire(), after)


async def test_a_used_key_opens_no_payment_of_another_order(store: PaymentStore) -> None:
    payment, _ = await opened(store)
    await settled(store, payment, key_use("key", payment.order_id))
    other = purchase().payment(new_id())
    use = key_use("key", other.order_id)
    assert await store.begin_new(other, Operation.AUTHORIZE, "k2", NOW, use) is None
    with pytest.raises(KeyReusedError):
        await store.get(other.order_id, use)
    assert await store.get(other.order_id) is None


async def test_two_reconcilers_never_claim_the_same_payment(store: PaymentStore) -> None:
    for _ in range(30):
        await opened(store)
    later = NOW + timedelta(seconds=10)
    rounds = [store.claim_in_doubt(NOW + timedelta(seconds=5), later, 10) for _ in range(4)]
    claimed = [payment.order_id for taken in await asyncio.gather(*rounds) for payment in taken]
    assert len(claimed) == len(set(claimed)) == 30
    assert await store.in_doubt() == 30
    assert await store.claim_in_doubt(NOW + timedelta(seconds=5), later, 10) == []


ACTS = st.lists(
    st.tuples(st.sampled_from(["authorize", "capture", "void", "refund"]), st.integers(1, 4)),
    min_size=2,
    max_size=6,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ACTS, st.integers(0, 2**32))
async def test_concurrent_operations_never_move_the_money_twice(
    store: PaymentStore, acts: list[tuple[str, int]], seed: int
) -> None:
    """Several tasks run each operation at the same time, with a bank that answers only some calls."""
    rng = Random(seed)
    bank = UnreliableBank(rng)
    payments = Payments(store, bank, now=lambda: NOW, new_id=new_id)
    wanted = purchase()
    for act, times in [("authorize", 2), *acts]:
        await asyncio.gather(*(attempt(payments, act, wanted) for _ in range(times)))
        assert bank.captures(wanted.order_id) <= 1
    bank.steady = True
    await settle(payments, wanted.order_id)
    bank.deliver_late()
    final = await payments.get(wanted.order_id)
    held = bank.held.get(wanted.order_id)
    assert final.status not in IN_DOUBT
    if held is not None:
        assert held.status == final.status
        assert held.captured_cents == final.captured_cents
        assert held.refunded_cents == final.refunded_cents


class UnreliableBank(FakeBank):
    """Each call has a random outcome until the bank is steady. Other tasks run meanwhile."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.steady = False
        self._rng = rng

    async def _call(self, kind: str, key: str, effect):  # type: ignore[no-untyped-def]
        behaviours = [
            Behaviour.NORMAL,
            *(each for each in Behaviour if each is not Behaviour.CRASH),
        ]
        await asyncio.sleep(0)
        self.behaviour = Behaviour.NORMAL if self.steady else self._rng.choice(behaviours)
        if self._rng.random() < 0.3:
            self.deliver_late()
        return await super()._call(kind, key, effect)


async def attempt(payments: Payments, act: str, wanted: Purchase) -> None:
    try:
        if act == "authorize":
            await payments.authorize(wanted)
        else:
            await getattr(payments, act)(wanted.order_id)
    except REFUSALS:
        pass


async def settle(payments: Payments, order_id: str) -> None:
    """Orders voids the payment. A captured one stays; a refund in progress is completed."""
    try:
        await payments.void(order_id)
    except WrongStateError as wrong:
        if wrong.payment.status is Status.REFUNDING:
            await payments.reconcile(wrong.payment)
