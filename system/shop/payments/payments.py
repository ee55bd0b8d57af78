"""How to ask a bank whose answer may never come: persist, ask with a stable key, persist.

The key is made from the payment and the operation, so that after a crash or a time-out the same
question can be put again and nothing happens twice.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from chassis.faults import failpoint
from shop.payments.domain import (
    MOVES,
    Authorization,
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
    news_for,
    reached,
)

Question = Callable[[str], Awaitable[Authorization | None]]


class Bank(Protocol):
    """The bank over an unreliable wire. All raise NoBankAnswerError; those with a key also BankRefusedError."""

    async def authorize(self, purchase: Purchase, key: str) -> Authorization: ...
    async def capture(self, authorization_id: str, key: str) -> Authorization: ...
    async def void(self, authorization_id: str, key: str) -> Authorization: ...
    async def refund(self, authorization_id: str, key: str) -> Authorization: ...
    async def cancel(self, reference: str, key: str) -> Authorization | None:
        """Void what the reference holds, if anything, and refuse what may still come for it."""

    async def of_reference(self, reference: str) -> list[Authorization]: ...


class Store(Protocol):
    """Payments that survive a crash; every method is one transaction."""

    async def get(self, order_id: str) -> Payment | None: ...
    async def open(self, purchase: Purchase, payment_id: str, now: datetime) -> Payment:
        """The order's payment, made now (authorizing) if there was none."""

    async def bury(self, order_id: str, payment_id: str, now: datetime) -> Payment:
        """The order's payment, a tombstone (voided) made now if there was none."""

    async def begin(
        self, payment: Payment, operation: Operation, during: Status, key: str, now: datetime
    ) -> int | None:
        """Enter `during` and note the call; None if the payment's status is another by now."""

    async def end(self, call_id: int, outcome: Outcome) -> None:
        """Note how the call ended, without news about the payment."""

    async def settle(
        self,
        order_id: str,
        status: Status,
        told: Authorization | None,
        now: datetime,
        call: tuple[int, Outcome] | None = None,
    ) -> Payment:
        """Take over the bank's news: its figures always, `status` where it is believed."""

    async def may_have_asked(self, order_id: str, operation: Operation) -> bool:
        """Whether any call of this operation may have reached the bank."""


class Payments:
    """The application: asks the bank, and keeps what is known.

    idempotent=False is the lab's demonstration without protection: every call goes out under a
    fresh key, and a repeated capture is not recognised.
    """

    def __init__(
        self,
        store: Store,
        bank: Bank,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        idempotent: bool = True,
    ) -> None:
        self._store = store
        self._bank = bank
        self._now = now
        self._new_id = new_id
        self._idempotent = idempotent

    async def get(self, order_id: str) -> Payment:
        """Raises PaymentNotFoundError."""
        payment = await self._store.get(order_id)
        if payment is None:
            raise PaymentNotFoundError(f"no payment for order {order_id}")
        return payment

    async def authorize(self, purchase: Purchase) -> Payment:
        """Hold the amount on the card.

        Raises PaymentDeclinedError, PaymentVoidedError, PaymentDiffersError, PaymentUnknownError,
        BankUnavailableError.
        """
        payment = await self._store.open(purchase, self._new_id(), self._now())
        given_up = payment.status in (Status.VOIDING, Status.VOIDED)
        if not given_up and not purchase.is_paid_by(payment):
            raise PaymentDiffersError(f"order {payment.order_id} has a payment with other terms")
        try:
            return await self._move(Operation.AUTHORIZE, payment, purchase)
        except WrongStateError as wrong:
            if wrong.payment.status is Status.DECLINED:
                raise PaymentDeclinedError(wrong.payment) from None
            raise PaymentVoidedError(
                f"the payment of order {payment.order_id} was voided"
            ) from None

    async def capture(self, order_id: str) -> Payment:
        """Take the money held.

        Raises PaymentNotFoundError, WrongStateError, PaymentUnknownError, BankUnavailableError.
        """
        return await self._move(Operation.CAPTURE, await self.get(order_id))

    async def refund(self, order_id: str) -> Payment:
        """Give the money back. Raises the same errors as `capture`."""
        return await self._move(Operation.REFUND, await self.get(order_id))

    async def void(self, order_id: str) -> Payment:
        """Void the payment; an unknown order gets a voided payment.

        Raises WrongStateError, PaymentUnknownError, BankUnavailableError.
        """
        payment = await self._store.bury(order_id, self._new_id(), self._now())
        return await self._move(Operation.VOID, payment)

    async def reconcile(self, payment: Payment) -> Payment:
        """Find out about a payment left in between; raises as the operations do, and NoBankAnswerError.

        A void or a refund is carried through. An authorization or a capture that the bank does
        not know stays open: orders asks again or voids, and the first question may yet arrive.
        """
        payment = await self._look(payment)
        if payment.status is Status.VOIDING:
            return await self._move(Operation.VOID, payment)
        if payment.status is Status.REFUNDING:
            return await self._move(Operation.REFUND, payment)
        return payment

    async def _move(
        self, operation: Operation, payment: Payment, purchase: Purchase | None = None
    ) -> Payment:
        """Bring the payment to where `operation` ends. Raises WrongStateError if it cannot get there."""
        move = MOVES[operation]
        repeats = operation is Operation.CAPTURE and not self._idempotent
        begins = move.begins | move.ends if repeats else move.begins
        while payment.status not in move.ends or repeats:
            if payment.status not in begins:
                raise WrongStateError(operation, payment)
            after = await self._ask(
                operation, payment, self._question(operation, payment, purchase)
            )
            if after is not None:
                payment = after
                break
            # someone else moved the payment since we read it
            payment = await self.get(payment.order_id)
        if payment.status not in move.ends:
            raise WrongStateError(operation, payment)
        return payment

    async def _ask(
        self, operation: Operation, payment: Payment, question: Question
    ) -> Payment | None:
        """Persist the intention, ask the bank, persist its answer; None if not in that state any more."""
        key = f"{payment.id}:{operation}" if self._idempotent else self._new_id()
        during = MOVES[operation].during
        call_id = await self._store.begin(payment, operation, during, key, self._now())
        if call_id is None:
            return None
        await failpoint(f"payments.before_bank_{operation}")
        try:
            told = await question(key)
        except BankRefusedError:
            await self._store.end(call_id, Outcome.REFUSED)
            try:
                return await self._look(await self.get(payment.order_id))
            except NoBankAnswerError as silent:
                raise PaymentUnknownError(
                    payment.order_id, operation, silent.retry_after_s
                ) from silent
        except NoBankAnswerError as silent:
            raise await self._silence(silent, operation, payment.order_id, call_id) from silent
        await failpoint(f"payments.after_bank_{operation}")
        status = reached(operation, told)
        outcome = Outcome.DECLINED if status is Status.DECLINED else Outcome.DONE
        call = (call_id, outcome if told else Outcome.NOT_SENT)
        return await self._store.settle(payment.order_id, status, told, self._now(), call)

    def _question(
        self, operation: Operation, payment: Payment, purchase: Purchase | None
    ) -> Question:
        held = payment.authorization_id
        if purchase is not None:
            return lambda key: self._bank.authorize(purchase, key)
        if operation is Operation.VOID and held is None:
            return lambda key: self._cancel(payment.order_id, key)
        assert held is not None, f"{payment.order_id} is {payment.status} without authorization"
        act = {
            Operation.CAPTURE: self._bank.capture,
            Operation.VOID: self._bank.void,
            Operation.REFUND: self._bank.refund,
        }[operation]
        return lambda key: act(held, key)

    async def _cancel(self, order_id: str, key: str) -> Authorization | None:
        """Void what may or may not have arrived; a bank that was never asked is spared."""
        if not await self._store.may_have_asked(order_id, Operation.AUTHORIZE):
            return None
        return await self._bank.cancel(order_id, key)

    async def _silence(
        self, silent: NoBankAnswerError, operation: Operation, order_id: str, call_id: int
    ) -> PaymentUnknownError | BankUnavailableError:
        await self._store.end(call_id, Outcome.NOT_SENT if silent.definite else Outcome.UNKNOWN)
        # this call may be certain not to have arrived; an earlier one may have
        if silent.definite and not await self._store.may_have_asked(order_id, operation):
            return BankUnavailableError(order_id, operation, silent.retry_after_s)
        return PaymentUnknownError(order_id, operation, silent.retry_after_s)

    async def _look(self, payment: Payment) -> Payment:
        """Take over what the bank's books say, if they say anything. Raises NoBankAnswerError."""
        news = news_for(payment, await self._bank.of_reference(payment.order_id))
        if news is None:
            return payment
        return await self._store.settle(payment.order_id, *news, self._now())
