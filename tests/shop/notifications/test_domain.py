"""The mail for each event, without a database or a mail server."""

from datetime import UTC, datetime
from email import message_from_bytes
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
from shop.notifications.sender import message_of
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


def test_a_message_has_both_texts_and_names_order_and_trace() -> None:
    mail = confirmed()
    outgoing = Outgoing(
        "n-1", ORDER, mail.message_id, mail.recipient, mail.subject, mail.text, mail.html,
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0, datetime.now(UTC),
    )  # fmt: skip
    sent = message_from_bytes(bytes(message_of(outgoing, "Thu, 01 Jan 2026 00:00:00 +0000")))
    assert sent["X-Order-Id"] == ORDER
    assert sent["X-Trace-Id"] == "0af7651916cd43dd8448eb211c80319c"
    assert [part.get_content_type() for part in sent.walk()][1:] == ["text/plain", "text/html"]


def test_the_pause_grows_with_the_failures_and_stays_below_the_cap() -> None:
    rng = Random(1)
    pauses = [backoff_s(failures, rng, base_s=0.2, cap_s=5.0) for failures in range(1, 60)]
    assert 0.1 <= pauses[0] <= 0.2
    assert all(2.5 <= pause <= 5.0 for pause in pauses[6:])
