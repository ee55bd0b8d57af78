"""The bank's rules, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.bank.domain import (
    Authorization,
    Kind,
    Status,
    WrongStateError,
    apply,
    decline_reason,
    luhn_valid,
)

MOVES = st.lists(st.sampled_from([Kind.CAPTURE, Kind.VOID, Kind.REFUND]), max_size=12)


def authorization(status: Status = Status.AUTHORIZED) -> Authorization:
    return Authorization("a-1", "order-1", status, 1000)


@pytest.mark.parametrize("card", ["4242424242424242", "4000000000000002", "4000000000009995"])
def test_the_documented_cards_have_a_valid_check_digit(card: str) -> None:
    assert luhn_valid(card)


@given(st.text("0123456789", min_size=12, max_size=19), st.data())
def test_any_single_wrong_digit_is_detected(digits: str, data: st.DataObject) -> None:
    check = next(d for d in "0123456789" if luhn_valid(digits[:-1] + d))
    good = digits[:-1] + check
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != good[at]]))
    assert luhn_valid(good)
    assert not luhn_valid(good[:at] + other + good[at + 1 :])


def test_cards_are_declined_by_number_with_a_reason() -> None:
    assert decline_reason("4242424242424242") == ""
    assert decline_reason("4000000000000002") == "card_declined"
    assert decline_reason("4000000000009995") == "insufficient_funds"
    assert decline_reason("4242424242424241") == "incorrect_number"


def test_a_refund_returns_the_whole_capture() -> None:
    after = apply(Kind.REFUND, apply(Kind.CAPTURE, authorization()))
    assert (after.status, after.captured_cents, after.refunded_cents) == ("refunded", 1000, 1000)


def test_a_second_capture_takes_the_money_twice() -> None:
    after = apply(Kind.CAPTURE, apply(Kind.CAPTURE, authorization()))
    assert after.captured_cents == 2000


@pytest.mark.parametrize("status", [Status.DECLINED, Status.VOIDED, Status.REFUNDED])
@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID, Kind.REFUND])
def test_a_settled_authorization_allows_no_operation(status: Status, kind: Kind) -> None:
    with pytest.raises(WrongStateError) as refused:
        apply(kind, authorization(status))
    assert refused.value.extra == {"status": status}


@given(MOVES)
def test_no_sequence_of_operations_refunds_more_than_was_captured(moves: list[Kind]) -> None:
    now = authorization()
    for kind in moves:
        try:
            now = apply(kind, now)
        except WrongStateError:
            continue
        assert 0 <= now.refunded_cents <= now.captured_cents
        assert (now.status is Status.VOIDED) <= (now.captured_cents == 0)
