"""What is written to whom. No I/O, no framework."""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered

SENDER = "Breakwater shop <shop@breakwater.example>"
DOMAIN = "breakwater.example"
REASONS = {
    "out_of_stock": "a product was out of stock",
    "payment_declined": "your bank declined the payment",
    "unavailable": "the payment could not be made in time; nothing was charged",
    "customer": "you asked us to",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail for one event; `order_id` is empty for mails that are not about an order."""

    event_id: str
    kind: str
    recipient: str
    user_id: str
    order_id: str
    subject: str
    text: str
    traceparent: str = ""

    @property
    def message_id(self) -> str:
        """The same for the same event, so that a mail sent twice can be told from two mails."""
        return f"<{self.event_id}@{DOMAIN}>"


def welcome(event: UserRegistered) -> Mail:
    text = f"Hello {event.name},\n\nyour account is ready. Happy shopping!\n"
    user_id = event.aggregate_id
    return Mail(event.event_id, event.type, event.email, user_id, "", "Welcome to Breakwater", text)


def confirmation(event: OrderConfirmed) -> Mail:
    total = f"{event.total_cents / 100:.2f} EUR"
    text = f"Your order {event.aggregate_id} is confirmed.\nWe charged {total}.\n"
    return _about_order(event, "Your order is confirmed", text)


def cancellation(event: OrderCancelled) -> Mail:
    why = REASONS.get(event.reason, "it could not be completed")
    text = f"Your order {event.aggregate_id} was cancelled: {why}.\n"
    return _about_order(event, "Your order was cancelled", text)


def _about_order(event: OrderConfirmed | OrderCancelled, subject: str, text: str) -> Mail:
    return Mail(
        event.event_id, event.type, event.email, event.user_id, event.aggregate_id, subject, text
    )


def message(mail: Mail, now: datetime) -> EmailMessage:
    """The mail as it goes over the wire: plain text and a small HTML page."""
    email = EmailMessage()
    email["From"] = SENDER
    email["To"] = mail.recipient
    email["Subject"] = mail.subject
    email["Date"] = format_datetime(now)
    email["Message-ID"] = mail.message_id
    if mail.order_id:
        email["X-Order-Id"] = mail.order_id
    if mail.traceparent:
        email["X-Trace-Id"] = mail.traceparent.split("-")[1]
    email.set_content(mail.text)
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in mail.text.splitlines() if line)
    email.add_alternative(f"<html><body>{paragraphs}</body></html>", subtype="html")
    return email
