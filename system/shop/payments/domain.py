"""What a payment is, what it may do next, and what the bank's word means for it. No I/O."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """The states ending in -ing are in between: the bank was asked, its answer is not known yet."""

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
    """How one call to the bank ended, as far as we were told."""

    ASKED = "asked"  # and nothing heard since: in flight, or we crashed
    DONE = "done"
    DECLINED = "declined"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Move:
    """An operation begins in `begins` (`during` is among them: ask again) and is over in `ends`."""

    begins: frozenset[Status]
    during: Status
    ends: frozenset[Status]


MOVES = {
    Operation.AUTHORIZE: Move(
        frozenset({Status.AUTHORIZING}),
        Status.AUTHORIZING,
        frozenset(
            {
                Status.AUTHORIZED,
                Status.CAPTURING,
                Status.CAPTURED,
                Status.REFUNDING,
                Status.REFUNDED,
            }
        ),
    ),
    Operation.CAPTURE: Move(
        frozenset({Status.AUTHORIZED, Status.CAPTURING}),
        Status.CAPTURING,
        frozenset({Status.CAPTURED}),
    ),
    # a void while an authorization or a capture is in between: the bank says which came first
    Operation.VOID: Move(
        frozenset({Status.AUTHORIZING, Status.AUTHORIZED, Status.CAPTURING, Status.VOIDING}),
        Status.VOIDING,
        frozenset({Status.VOIDED, Status.DECLINED}),
    ),
    Operation.REFUND: Move(
        frozenset({Status.CAPTURED, Status.REFUNDING}),
        Status.REFUNDING,
        frozenset({Status.REFUNDED}),
    ),
}
IN_BETWEEN = frozenset(move.during for move in MOVES.values())

# in which states the bank's news is believed; in any other it comes too late
BELIEVED_IN = {
    Status.AUTHORIZED: frozenset({Status.AUTHORIZING}),
    Status.DECLINED: frozenset({Status.AUTHORIZING}),
    Status.CAPTURED: frozenset({Status.CAPTURING, Status.VOIDING}),
    Status.VOIDED: frozenset({Status.AUTHORIZING, Status.CAPTURING, Status.VOIDING}),
    Status.REFUNDED: frozenset({Status.REFUNDING}),
}


@dataclass(frozen=True, slots=True)
class Payment:
    """Amounts in cents of `currency`. A tombstone (void of an unknown order): no user, amount 0."""

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
    """What orders wants paid."""

    order_id: str
    user_id: str
    amount_cents: int
    currency: str
    card_number: str

    def is_paid_by(self, payment: Payment) -> bool:
        """Whether the order's payment is on these terms; the card may be another."""
        return (payment.user_id, payment.amount_cents, payment.currency) == (
            self.user_id,
            self.amount_cents,
            self.currency,
        )


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the bank says: `status` authorized, declined, captured, voided or refunded."""

    id: str
    status: str
    captured_cents: int = 0
    refunded_cents: int = 0
    reason: str = ""


def reached(operation: Operation, told: Authorization | None) -> Status:
    """The status that the bank's answer to `operation` stands for; None: it had not to be asked."""
    match operation:
        case Operation.AUTHORIZE:
            refusals = {"declined": Status.DECLINED, "voided": Status.VOIDED}
            return refusals.get(told.status if told else "", Status.AUTHORIZED)
        case Operation.CAPTURE:
            return Status.CAPTURED
        case Operation.VOID:
            return Status.VOIDED
        case Operation.REFUND:
            return Status.REFUNDED


def news_for(
    payment: Payment, authorizations: list[Authorization]
) -> tuple[Status, Authorization] | None:
    """What the bank's books say about a payment that is in between; None: not decided there yet."""
    for told in authorizations:
        if payment.status is Status.REFUNDING:
            if told.refunded_cents > payment.refunded_cents:
                return Status.REFUNDED, told
        elif told.status in ("captured", "refunded"):
            return Status.CAPTURED, told
        elif told.status == "voided" or (
            told.status == "declined" and payment.status is Status.VOIDING
        ):
            return Status.VOIDED, told
        elif payment.status is Status.AUTHORIZING:
            return Status(told.status), told
    return None


class NoBankAnswerError(Exception):
    """No answer from the bank. definite: it was certainly not asked; else nobody here knows."""

    def __init__(self, definite: bool, retry_after_s: float | None = None) -> None:
        super().__init__("the bank was not asked" if definite else "the bank did not answer")
        self.definite = definite
        self.retry_after_s = retry_after_s


class BankRefusedError(Exception):
    """The bank says that its authorization, or the reference, does not allow this."""


class PaymentDeclinedError(Exception):
    """The card was refused. Definite: nothing is held."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"the card was refused: {payment.reason.replace('_', ' ')}")
        self.extra: dict[str, Any] = {"order_id": payment.order_id, "reason": payment.reason}


class PaymentUnknownError(Exception):
    """The bank did not answer; it may have acted. Indefinite: ask again with the same key."""

    def __init__(self, order_id: str, operation: Operation, retry_after_s: float | None) -> None:
        super().__init__(f"it is not known whether the bank did {operation}; ask again")
        self.extra: dict[str, Any] = {"order_id": order_id, "definite": False}
        self.retry_after_s = retry_after_s or 1.0


class BankUnavailableError(Exception):
    """The bank was never asked. Definite: nothing happened; ask again with the same key."""

    def __init__(self, order_id: str, operation: Operation, retry_after_s: float | None) -> None:
        super().__init__(f"the bank cannot be reached, {operation} did not happen; ask again")
        self.extra: dict[str, Any] = {"order_id": order_id, "definite": True}
        self.retry_after_s = retry_after_s or 1.0


class PaymentNotFoundError(Exception):
    """No payment for this order, or not this user's."""


class PaymentVoidedError(Exception):
    """The order was given up before; it takes no authorization any more."""


class PaymentDiffersError(Exception):
    """The order has a payment already, with another amount, currency or user."""


class WrongStateError(Exception):
    """The payment does not allow this; `status` in the answer says where it stands."""

    def __init__(self, operation: Operation, payment: Payment) -> None:
        super().__init__(f"cannot {operation} a payment that is {payment.status}")
        self.payment = payment
        self.extra: dict[str, Any] = {
            "order_id": payment.order_id,
            "status": payment.status.value,
        }
