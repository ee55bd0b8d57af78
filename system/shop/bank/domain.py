"""The bank's rules: which cards it accepts and which operations an authorization allows. No I/O."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

DECLINED_CARDS = {"4000000000000002": "card_declined", "4000000000009995": "insufficient_funds"}


class Status(StrEnum):
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    CAPTURED = "captured"
    VOIDED = "voided"
    REFUNDED = "refunded"


class Kind(StrEnum):
    """The kind of a ledger entry."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Authorization:
    """Money held on a card for `reference`, the merchant's id of the purchase."""

    id: str
    reference: str
    status: Status
    amount_cents: int
    captured_cents: int = 0
    refunded_cents: int = 0
    reason: str = ""


class CardDeclinedError(Exception):
    """The card was declined. Definite: the authorization holds no money."""

    def __init__(self, authorization: Authorization) -> None:
        super().__init__(f"the card was declined: {authorization.reason.replace('_', ' ')}")
        self.extra: dict[str, Any] = {
            "id": authorization.id,
            "reference": authorization.reference,
            "reason": authorization.reason,
        }


class AuthorizationNotFoundError(Exception):
    """No authorization has this id."""


class WrongStateError(Exception):
    """The authorization does not allow this operation. The answer contains its `status`."""

    def __init__(self, kind: Kind, authorization: Authorization) -> None:
        super().__init__(f"cannot {kind} an authorization that is {authorization.status}")
        self.extra: dict[str, Any] = {"status": authorization.status.value}


class ReferenceCancelledError(Exception):
    """The merchant cancelled this reference before the authorization arrived."""


def decline_reason(card_number: str) -> str:
    """Why the card is declined, "" if it is accepted."""
    if not luhn_valid(card_number):
        return "incorrect_number"
    return DECLINED_CARDS.get(card_number, "")


def luhn_valid(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1): every second digit from the right is doubled."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def apply(kind: Kind, before: Authorization) -> Authorization:
    """The authorization after an operation on its whole amount. Raises WrongStateError."""
    amount = before.amount_cents
    match kind, before.status:
        # a capture under a new key is a new capture: the bank cannot recognise a mistake
        case Kind.CAPTURE, Status.AUTHORIZED | Status.CAPTURED:
            captured = before.captured_cents + amount
            return replace(before, status=Status.CAPTURED, captured_cents=captured)
        case Kind.VOID, Status.AUTHORIZED:
            return replace(before, status=Status.VOIDED)
        case Kind.REFUND, Status.CAPTURED:
            refunded = before.refunded_cents + amount
            status = Status.REFUNDED if refunded == before.captured_cents else Status.CAPTURED
            return replace(before, status=status, refunded_cents=refunded)
        case _:
            raise WrongStateError(kind, before)
