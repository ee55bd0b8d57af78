"""The mail for each event, without a database or a mail server."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from random import Random

import pytest

from contracts.events import OrderCancelled, OrderConfirmed, UserRegistered
from shop.notifications.domain import (
    BadRecipientError,
    Mail,
    backoff_s,
    order_cancelled,
    order_confirmed,
    welcome,
)
from shop.notifications.letter import letter_of
from shop.notifications.store import Outgoing

ORDER = "01900000-0000-7000-8000-000000000001"


def confirmed(email: str = "ann@example.com") -> Mail:
    return order_confirmed(
        OrderConfirmed(
            aggregate_id=ORDER, event_id="e-1", user_id="u-1", email=email, total_cents=1205
        )
    )


def test_a_confirmation_names_the_order_and_the_total() -> None:
    mail = confirmed()
    assert (mail.kind, mail.order_id, mail.user_id) == ("order_confirmed", ORDER, "u-1")
    assert ORDER in mail.text
    assert "12.05" in mail.text


def test_a_cancellation_states_its_reason() -> None:
    event = OrderCancelled(
        aggregate_id=ORDER, user_id="u-1", email="ann@example.com", reason="payment_declined"
    )
    assert "payment declined" in order_cancelled(event).text


def test_a_welcome_belongs_to_a_user_and_no_order() -> None:
    mail = welcome(UserRegistered(aggregate_id="u-1", email="ann@example.com", name="Ann"))
    assert (mail.user_id, mail.order_id) == ("u-1", None)


def test_a_name_cannot_add_markup_to_the_mail() -> None:
    event = UserRegistered(aggregate_id="u-1", email="ann@example.com", name="<script>x</script>")
    assert "<script>" not in welcome(event).html


@pytest.mark.parametrize("address", ["", "ann", "ann@", "a b@c", "a@b\r\nBcc: eve@example.com"])
def test_an_invalid_address_is_refused_before_it_is_stored(address: str) -> None:
    with pytest.raises(BadRecipientError):
        confirmed(address)


def test_the_same_event_always_has_the_same_message_id() -> None:
    assert confirmed().message_id == confirmed().message_id == "<e-1@breakwater.example>"


def outgoing(mail: Mail, **changes: str) -> Outgoing:
    made = Outgoing(
        "n-1", ORDER, mail.message_id, mail.recipient, mail.subject, mail.text, mail.html,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0, datetime.now(UTC),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def sent(mail: Outgoing) -> Message:
    content = letter_of(mail, "Thu, 01 Jan 2026 00:00:00 +0000").content
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    return message_from_bytes(content)


def bodies(message: Message) -> list[str]:
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    decoded = (part.get_payload(decode=True) for part in parts)
    return [bytes(text).decode().replace("\r\n", "\n") for text in decoded if text]


def test_a_message_has_both_texts_and_names_order_and_trace() -> None:
    mail = confirmed()
    message = sent(outgoing(mail))
    assert message["X-Order-Id"] == ORDER
    assert message["X-Trace-Id"] == "0af7651916cd43dd8448eb211c80319c"
    assert message["Message-ID"] == mail.message_id
    assert [body.strip() for body in bodies(message)] == [mail.text.strip(), mail.html.strip()]


@pytest.mark.parametrize("name", ["Zoë", "x" * 2000, ".", "a\n.\nb", "=20"])
def test_a_message_carries_any_text(name: str) -> None:
    mail = replace(confirmed(), paragraphs=(f"Hello {name},", name))
    assert [body.strip() for body in bodies(sent(outgoing(mail)))] == [
        mail.text.strip(),
        mail.html.strip(),
    ]


def test_a_subject_can_have_any_letters() -> None:
    message = sent(outgoing(confirmed(), subject="Größe"))
    assert str(make_header(decode_header(message["Subject"]))) == "Größe"


def test_a_value_cannot_add_a_header() -> None:
    message = sent(outgoing(confirmed(), message_id="<e\r\nBcc: eve@example.com>"))
    assert message["Bcc"] is None


def test_the_pause_grows_with_the_failures_and_stays_below_the_cap() -> None:
    rng = Random(1)
    pauses = [backoff_s(failures, rng, base_s=0.2, cap_s=5.0) for failures in range(1, 60)]
    assert 0.1 <= pauses[0] <= 0.2
    assert all(2.5 <= pause <= 5.0 for pause in pauses[6:])
