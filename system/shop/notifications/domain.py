"""The mail for each event, and the pause before a retry. No I/O."""

from dataclasses import dataclass
from enum import StrEnum
from html import escape
from random import Random

from contracts.address import is_address
from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered

DOMAIN = "breakwater.example"


class Status(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class Kind(StrEnum):
    WELCOME = "welcome"
    ORDER_CONFIRMED = "order_confirmed"
    ORDER_CANCELLED = "order_cancelled"


class BadRecipientError(ValueError):
    """The event has no valid mail address. A retry cannot help."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one recipient; `paragraphs` are plain text."""

    event_id: str
    user_id: str
    order_id: str | None
    kind: Kind
    recipient: str
    subject: str
    paragraphs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not is_address(self.recipient):
            raise BadRecipientError(
                f"event {self.event_id}: not a mail address: {self.recipient!r}"
            )

    @property
    def message_id(self) -> str:
        """Made from the event, so that a recipient can recognise a mail that was sent twice."""
        return f"<{self.event_id}@{DOMAIN}>"

    @property
    def text(self) -> str:
        return "\n\n".join(self.paragraphs) + "\n"

    @property
    def html(self) -> str:
        body = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in self.paragraphs)
        return f"<!doctype html><title>{escape(self.subject)}</title>{body}\n"


def welcome(event: UserRegistered) -> Mail:
    return Mail(
        event.event_id,
        event.aggregate_id,
        None,
        Kind.WELCOME,
        event.email,
        "Welcome to the shop",
        (f"Hello {event.name},", "your account is ready.", "Breakwater shop"),
    )


def order_confirmed(event: OrderConfirmed) -> Mail:
    euros, cents = divmod(event.total_cents, 100)
    return Mail(
        event.event_id,
        event.user_id,
        event.aggregate_id,
        Kind.ORDER_CONFIRMED,
        event.email,
        "Your order is confirmed",
        (
            f"Your order {event.aggregate_id} is paid and on its way.",
            f"Total: {euros}.{cents:02}",
            "Breakwater shop",
        ),
    )


def order_cancelled(event: OrderCancelled) -> Mail:
    return Mail(
        event.event_id,
        event.user_id,
        event.aggregate_id,
        Kind.ORDER_CANCELLED,
        event.email,
        "Your order was cancelled",
        (
            f"Your order {event.aggregate_id} was cancelled: {event.reason.replace('_', ' ')}.",
            "If your card was charged, you get the money back.",
            "Breakwater shop",
        ),
    )


def backoff_s(failures: int, rng: Random, *, base_s: float = 0.2, cap_s: float = 5.0) -> float:
    """The pause after `failures` failures in a row (1 or more): doubles each time, half of it is random."""
    ceiling = min(cap_s, base_s * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + 0.5 * rng.random())
