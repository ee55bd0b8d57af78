"""Calls the bank safely: store the intention, call with a stable key, store the answer.

The key is made from the payment and the operation. After a crash or a timeout the same call is
repeated with the same key, and nothing happens twice.
"""

from collections.abc import Awaitable, Callable, Set
from datetime import datetime
from typing import Protocol

from chassis.faults import failpoint
from chassis.http.idempotency import KeyUse
from shop.payments.domain import (
    TRANSITIONS,
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
    status_after,
    status_at_bank,
)

BankCall = Callable[[str], Awaitable[Authorization | None]]


class Bank(Protocol):
    """The bank. Every method raises NoBankAnswerError; those with a key also raise BankRefusedError."""

    async def authorize(self, purchase: Purchase, key: str) -> Authorization: ...
    async def change(
        self, operation: Operation, authorization_id: str, key: str
    ) -> Authorization: ...
    async def cancel(self, reference: str, key: str) -> Authorization | None:
        """Void the reference's authorization, if there is one, and refuse later ones."""

    async def of_reference(self, reference: str) -> list[Authorization]: ...


class Store(Protocol):
    """The stored payments. Every method is one transaction. `use` is the use of the request's key."""

    async def get(self, order_id: str, use: KeyUse | None = None) -> Payment | None:
        """Raises AnsweredError and KeyReusedError if the key was used before."""

    async def begin_new(
        self, payment: Payment, operation: Operation, key: str, now: datetime, use: KeyUse | None
    ) -> int | None:
        """Store a new payment and record the call; None if the order has one, or the key has an answer."""

    async def open_voided(self, order_id: str, payment_id: str, now: datetime) -> Payment:
        """The order's payment; a tombstone (voided) if there was none."""

    async def begin(
        self, payment: Payment, operation: Operation, during: Status, key: str, now: datetime
    ) -> int | None:
        """Enter `during` and record the call; None if the payment's status has changed."""

    async def end(self, call_id: int, outcome: Outcome) -> None:
        """Record the call's outcome without a change of the payment."""

    async def settle(
        self,
        order_id: str,
        status: Status,
        answer: Authorization | None,
        now: datetime,
        call: tuple[int, Outcome] | None = None,
        ends: Set[Status] = frozenset(),
        use: KeyUse | None = None,
    ) -> Payment:
        """Store the bank's answer: its amounts always, `status` where it is accepted.

        If the payment is then in one of `ends`, it is the answer for the key.
        """

    async def may_have_reached_bank(self, order_id: str, operation: Operation) -> bool:
        """Whether a call of this operation may have reached the bank."""


class Payments:
    """The operations on payments.

    idempotent=False is the lab's demonstration without protection: every call has a new key, and
    a repeated capture is not recognised.
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

    async def get(self, order_id: str, use: KeyUse | None = None) -> Payment:
        """Raises PaymentNotFoundError."""
        payment = await self._store.get(order_id, use)
        if payment is None:
            raise PaymentNotFoundError(f"no payment for order {order_id}")
        return payment

    async def authorize(self, purchase: Purchase, use: KeyUse | None = None) -> Payment:
        """Hold the amount on the card.

        Raises PaymentDeclinedError, PaymentVoidedError, PaymentDiffersError, PaymentUnknownError,
        BankUnavailableError.
        """
        payment = purchase.payment(self._new_id())
        key = self._bank_key(Operation.AUTHORIZE, payment)
        call_id = await self._store.begin_new(payment, Operation.AUTHORIZE, key, self._now(), use)
        if call_id is None:
            payment = await self.get(purchase.order_id, use)
        begun = (call_id, key) if call_id is not None else None
        voided = payment.status in (Status.VOIDING, Status.VOIDED)
        if not voided and not purchase.matches(payment):
            raise PaymentDiffersError(f"order {payment.order_id} has a payment with other terms")
        try:
            return await self._run(Operation.AUTHORIZE, payment, use, purchase, begun)
        except WrongStateError as wrong:
            if wrong.payment.status is Status.DECLINED:
                raise PaymentDeclinedError(wrong.payment) from None
            raise PaymentVoidedError(
                f"the payment of order {payment.order_id} was voided"
            ) from None

    async def capture(self, order_id: str, use: KeyUse | None = None) -> Payment:
        """Take the money held.

        Raises PaymentNotFoundError, WrongStateError, PaymentUnknownError, BankUnavailableError.
        """
        return await self._run(Operation.CAPTURE, await self.get(order_id, use), use)

    async def refund(self, order_id: str, use: KeyUse | None = None) -> Payment:
        """Give the money back. Raises the same errors as `capture`."""
        return await self._run(Operation.REFUND, await self.get(order_id, use), use)

    async def void(self, order_id: str, use: KeyUse | None = None) -> Payment:
        """Void the payment; an unknown order gets a voided payment.

        Raises WrongStateError, PaymentUnknownError, BankUnavailableError.
        """
        payment = await self._store.get(order_id, use)
        if payment is None:
            payment = await self._store.open_voided(order_id, self._new_id(), self._now())
        return await self._run(Operation.VOID, payment, use)

    async def reconcile(self, payment: Payment) -> Payment:
        """Resolve a payment in doubt. Raises NoBankAnswerError and the errors of the operations.

        A void or a refund is completed. An authorization or a capture without a record at the bank
        stays in doubt: orders retries or voids it, and the first call may still arrive.
        """
        payment = await self._read_bank(payment)
        if payment.status is Status.VOIDING:
            return await self._run(Operation.VOID, payment)
        if payment.status is Status.REFUNDING:
            return await self._run(Operation.REFUND, payment)
        return payment

    async def _run(
        self,
        operation: Operation,
        payment: Payment,
        use: KeyUse | None = None,
        purchase: Purchase | None = None,
        begun: tuple[int, str] | None = None,
    ) -> Payment:
        """Run `operation` to its end. Raises WrongStateError if the payment does not allow it."""
        transition = TRANSITIONS[operation]
        repeats = operation is Operation.CAPTURE and not self._idempotent
        starts = transition.starts | transition.ends if repeats else transition.starts
        while payment.status not in transition.ends or repeats:
            if payment.status not in starts:
                raise WrongStateError(operation, payment)
            call = self._bank_call(operation, payment, purchase)
            after = await self._call_bank(operation, payment, call, use, begun)
            if after is not None:
                payment = after
                break
            # another request changed the payment meanwhile
            payment = await self.get(payment.order_id, use)
        if payment.status not in transition.ends:
            raise WrongStateError(operation, payment)
        return payment

    async def _call_bank(
        self,
        operation: Operation,
        payment: Payment,
        call: BankCall,
        use: KeyUse | None,
        begun: tuple[int, str] | None,
    ) -> Payment | None:
        """Store the intention, call the bank, store its answer; None if the payment's status has changed.

        `begun` are the id and the key of a call whose intention is stored.
        """
        transition = TRANSITIONS[operation]
        if begun is None:
            key = self._bank_key(operation, payment)
            call_id = await self._store.begin(
                payment, operation, transition.during, key, self._now()
            )
            if call_id is None:
                return None
        else:
            call_id, key = begun
        await failpoint(f"payments.before_bank_{operation}")
        try:
            answer = await call(key)
        except BankRefusedError:
            await self._store.end(call_id, Outcome.REFUSED)
            try:
                return await self._read_bank(await self.get(payment.order_id))
            except NoBankAnswerError as error:
                raise PaymentUnknownError(
                    payment.order_id, operation, error.retry_after_s
                ) from error
        except NoBankAnswerError as error:
            raise await self._no_answer(error, operation, payment.order_id, call_id) from error
        await failpoint(f"payments.after_bank_{operation}")
        status = status_after(operation, answer)
        outcome = Outcome.DECLINED if status is Status.DECLINED else Outcome.DONE
        ended = (call_id, outcome if answer else Outcome.NOT_SENT)
        return await self._store.settle(
            payment.order_id, status, answer, self._now(), ended, transition.ends, use
        )

    def _bank_key(self, operation: Operation, payment: Payment) -> str:
        """The same for each call of the operation, so that the bank acts once."""
        key = f"{payment.id}:{operation}" if self._idempotent else self._new_id()
        return key

    def _bank_call(
        self, operation: Operation, payment: Payment, purchase: Purchase | None
    ) -> BankCall:
        held = payment.authorization_id
        if purchase is not None:
            return lambda key: self._bank.authorize(purchase, key)
        if operation is Operation.VOID and held is None:
            return lambda key: self._cancel(payment.order_id, key)
        assert held is not None, f"{payment.order_id} is {payment.status} without authorization"
        return lambda key: self._bank.change(operation, held, key)

    async def _cancel(self, order_id: str, key: str) -> Authorization | None:
        """Cancel an authorization that may have reached the bank; skip the call if none was sent."""
        if not await self._store.may_have_reached_bank(order_id, Operation.AUTHORIZE):
            return None
        return await self._bank.cancel(order_id, key)

    async def _no_answer(
        self, error: NoBankAnswerError, operation: Operation, order_id: str, call_id: int
    ) -> PaymentUnknownError | BankUnavailableError:
        await self._store.end(call_id, Outcome.NOT_SENT if error.definite else Outcome.UNKNOWN)
        # this call certainly did not arrive, but an earlier one may have
        if error.definite and not await self._store.may_have_reached_bank(order_id, operation):
            return BankUnavailableError(order_id, operation, error.retry_after_s)
        return PaymentUnknownError(order_id, operation, error.retry_after_s)

    async def _read_bank(self, payment: Payment) -> Payment:
        """Store the status that the bank's records give, if any. Raises NoBankAnswerError."""
        found = status_at_bank(payment, await self._bank.of_reference(payment.order_id))
        if found is None:
            return payment
        return await self._store.settle(payment.order_id, *found, self._now())
