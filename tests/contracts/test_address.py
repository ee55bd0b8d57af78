"""Mail addresses: users accepts exactly those to which notifications can send."""

import pytest

from contracts.address import is_address
from shop.notifications.domain import BadRecipientError, Kind, Mail
from shop.users.domain import normalise_email

GOOD = ("ann@example.com", "o'hara+tag@mail.example.com", "a.b-c_d@x-1.example", "a@b.co")
BAD = (
    "a,b@example.com",
    "<x>@example.com",
    '"ann b"@example.com',
    "ann@example.com\r\nBcc: eve@example.com",
    "ann%0d%0a@example.com ",
    "\u00e4nn@example.com",
    "ann@ex\u00e4mple.com",
    "ann..b@example.com",
    ".ann@example.com",
    "ann.@example.com",
    "ann@-example.com",
    "ann@example-.com",
    "ann@example..com",
    "ann@localhost",
    "ann@[127.0.0.1]",
    "a" * 65 + "@example.com",
    "ann@" + "a" * 64 + ".com",
    "ann@example.com\x00",
    "ann;eve@example.com",
    "ann@example.com,eve@example.com",
)


@pytest.mark.parametrize("text", GOOD)
def test_an_accepted_address_can_be_written_to(text: str) -> None:
    assert is_address(text)
    assert normalise_email(text) == text
    assert mail_to(text).recipient == text


@pytest.mark.parametrize("text", BAD)
def test_an_address_that_mail_cannot_reach_is_not_accepted(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(BadRecipientError):
        mail_to(text)
    if text == text.strip():  # surrounding blanks are removed
        with pytest.raises(ValueError, match="expected an e-mail address"):
            normalise_email(text)


def mail_to(recipient: str) -> Mail:
    return Mail("e1", "u1", None, Kind.WELCOME, recipient, "Hello", ("Hello",))
