"""The states of a payment, its operations, and the effect of the bank's answers. No I/O."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """A state in -ing is in doubt: the bank was called, and its answer is not known yet."""

    AUTHORIZING = "authorizing"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    CAPTURING = "capturing"
    CAPTURED = "captured"
    VOIDING = "voiding"
    VOIDED = "voided"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class Operation(StrEnum):
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class Outcome(StrEnum):
    """The known outcome of one call to the bank."""

    ASKED = "asked"  # no answer yet: in flight, or this process crashed
    DONE = "done"
    DECLINED = "declined"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Transition:
    """An operation may start in `starts`, is in `during` until the bank answers, and ends in `ends`.

    `starts` contains `during`: a repeated operation calls the bank again.
    """

    starts: Set[Status]
    during: Status
    ends: Set[Status]


TRANSITIONS = {
    Operation.AUTHORIZE: Transition(
        {Status.AUTHORIZING},
        Status.AUTHORIZING,
        {Status.AUTHORIZED, Status.CAPTURING, Status.CAPTURED, Status.REFUNDING, Status.REFUNDED},
    ),
    Operation.CAPTURE: Transition(
        {Status.AUTHORIZED, Status.CAPTURING}, Status.CAPTURING, {Status.CAPTURED}
    ),
    # a void may start while another operation is in doubt: the bank reports which came first
    Operation.VOID: Transition(
        {Status.AUTHORIZING, Status.AUTHORIZED, Status.CAPTURING, Status.VOIDING},
        Status.VOIDING,
        {Status.VOIDED, Status.DECLINED},
    ),
    Operation.REFUND: Transition(
        {Status.CAPTURED, Status.REFUNDING}, Status.REFUNDING, {Status.REFUNDED}
    ),
}
IN_DOUBT = frozenset(transition.during for transition in TRANSITIONS.values())

# status from the bank -> states in which it is accepted; in any other state it is out of date
ACCEPTED_IN: dict[Status, Set[Status]] = {
    Status.AUTHORIZED: {Status.AUTHORIZING},
    Status.DECLINED: {Status.AUTHORIZING},
    Status.CAPTURED: {Status.CAPTURING, Status.VOIDING},
    Status.VOIDED: {Status.AUTHORIZING, Status.CAPTURING, Status.VOIDING},
    Status.REFUNDED: {Status.REFUNDING},
}


@dataclass(frozen=True, slots=True)
class Payment:
    """Amounts are cents of `currency`. A tombstone (void of an unknown order) has no user and amount 0."""

    id: str
    order_id: str
    user_id: str | None
    status: Status
    amount_cents: int
    currency: str
    captured_cents: int = 0
    refunded_cents: int = 0
    authorization_id: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Purchase:
    """The payment that orders requests."""

    order_id: str
    user_id: str
    amount_cents: int
    currency: str
    card_number: str

    def payment(self, payment_id: str) -> Payment:
        """The order's new payment."""
        return Payment(
            payment_id,
            self.order_id,
            self.user_id,
            Status.AUTHORIZING,
            self.amount_cents,
            self.currency,
        )

    def matches(self, payment: Payment) -> bool:
        """Whether the payment has the same user, amount and currency. The card may differ."""
        return (payment.user_id, payment.amount_cents, payment.currency) == (
            self.user_id,
            self.amount_cents,
            self.currency,
        )


@dataclass(frozen=True, slots=True)
class Authorization:
    """The bank's answer: `status` is authorized, declined, captured, voided or refunded."""

    id: str
    status: str
    captured_cents: int = 0
    refunded_cents: int = 0
    reason: str = ""


def status_after(operation: Operation, answer: Authorization | None) -> Status:
    """The payment's status after the bank's answer to `operation`; None: no call was necessary."""
    match operation:
        case Operation.AUTHORIZE:
            refusals = {"declined": Status.DECLINED, "voided": Status.VOIDED}
            return refusals.get(answer.status if answer else "", Status.AUTHORIZED)
        case Operation.CAPTURE:
            return Status.CAPTURED
        case Operation.VOID:
            return Status.VOIDED
        case Operation.REFUND:
            return Status.REFUNDED


def status_at_bank(
    payment: Payment, authorizations: list[Authorization]
) -> tuple[Status, Authorization] | None:
    """The status that the bank's records give to a payment in doubt; None: the bank has not decided yet."""
    for found in authorizations:
        if payment.status is Status.REFUNDING:
            if found.refunded_cents > payment.refunded_cents:
                return Status.REFUNDED, found
        elif found.status in ("captured", "refunded"):
            return Status.CAPTURED, found
        elif found.status == "voided" or (
            found.status == "declined" and payment.status is Status.VOIDING
        ):
            return Status.VOIDED, found
        elif payment.status is Status.AUTHORIZING:
            return Status(found.status), found
    return None


class NoBankAnswerError(Exception):
    """No answer from the bank. `definite`: the call certainly did not reach it; else it may have acted."""

    def __init__(self, definite: bool, retry_after_s: float | None = None) -> None:
        super().__init__("the bank was not reached" if definite else "the bank did not answer")
        self.definite = definite
        self.retry_after_s = retry_after_s


class BankRefusedError(Exception):
    """The bank refused: the authorization or the reference does not allow the operation."""


class PaymentDeclinedError(Exception):
    """The card was declined. Definite: the bank holds no money."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"the card was declined: {payment.reason.replace('_', ' ')}")
        self.extra: dict[str, Any] = {"order_id": payment.order_id, "reason": payment.reason}


class PaymentUnknownError(Exception):
    """The bank did not answer; it may have acted. Indefinite: retry with the same key."""

    def __init__(self, order_id: str, operation: Operation, retry_after_s: float | None) -> None:
        super().__init__(f"the bank did not answer to {operation}; retry with the same key")
        self.extra: dict[str, Any] = {"order_id": order_id, "definite": False}
        self.retry_after_s = retry_after_s or 1.0


class BankUnavailableError(Exception):
    """The call did not reach the bank. Definite: nothing happened; retry with the same key."""

    def __init__(self, order_id: str, operation: Operation, retry_after_s: float | None) -> None:
        super().__init__(
            f"the bank cannot be reached; {operation} did not happen; retry with the same key"
        )
        self.extra: dict[str, Any] = {"order_id": order_id, "definite": True}
        self.retry_after_s = retry_after_s or 1.0


class PaymentNotFoundError(Exception):
    """The order has no payment, or it belongs to another user."""


class PaymentVoidedError(Exception):
    """The payment was voided before. It accepts no authorization."""


class PaymentDiffersError(Exception):
    """The order already has a payment with another amount, currency or user."""


class WrongStateError(Exception):
    """The payment does not allow this operation. The answer contains its `status`."""

    def __init__(self, operation: Operation, payment: Payment) -> None:
        super().__init__(f"cannot {operation} a payment that is {payment.status}")
        self.payment = payment
        self.extra: dict[str, Any] = {"order_id": payment.order_id, "status": payment.status.value}
