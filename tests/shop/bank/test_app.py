"""The running bank over HTTP."""

from typing import Any

import pytest

from chassis.ids import new_id
from tests.fixtures.running import Running, RunningService
from tests.shop.service_calls import call

GOOD, DECLINED = "4242424242424242", "4000000000000002"


@pytest.fixture
async def bank(running: Running) -> RunningService:
    return await running("bank")


def body(card: str = GOOD, **other: Any) -> dict[str, Any]:
    return {
        "reference": "order-1", "amount_cents": 700, "currency": "EUR", "card_number": card, **other
    }  # fmt: skip


async def test_an_authorization_is_captured_and_refunded_and_found_by_reference(
    bank: RunningService,
) -> None:
    made = await call(bank, "POST", "/authorizations", json=body())
    assert (made.status, made.body["status"]) == (201, "authorized")
    for verb, status in (("capture", "captured"), ("refund", "refunded")):
        moved = await call(bank, "POST", f"/authorizations/{made.body['id']}/{verb}")
        assert (moved.status, moved.body["status"]) == (200, status)
    found = await call(bank, "GET", "/authorizations?reference=order-1")
    assert found.body["items"] == [moved.body]


async def test_the_same_key_replays_and_another_body_is_refused(bank: RunningService) -> None:
    key = new_id()
    first = await call(bank, "POST", "/authorizations", json=body(), key=key)
    again = await call(bank, "POST", "/authorizations", json=body(), key=key)
    other = await call(bank, "POST", "/authorizations", json=body(amount_cents=1), key=key)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status, other.body["type"]) == (422, "urn:breakwater:problem:key-reused")


async def test_a_declined_card_is_402_each_time_with_the_same_authorization(
    bank: RunningService,
) -> None:
    key = new_id()
    answers = [
        await call(bank, "POST", "/authorizations", json=body(DECLINED), key=key) for _ in "12"
    ]
    assert [answer.status for answer in answers] == [402, 402]
    assert answers[0].body["reason"] == "card_declined"
    assert answers[0].body["id"] == answers[1].body["id"]


async def test_the_bank_honours_keys_even_if_the_shop_switches_idempotency_off(
    running: Running,
) -> None:
    bank = await running("bank", IDEMPOTENCY="off")
    key = new_id()
    made = [await call(bank, "POST", "/authorizations", json=body(), key=key) for _ in "12"]
    assert made[0].body["id"] == made[1].body["id"]
    path = f"/authorizations/{made[0].body['id']}/capture"
    captured = [await call(bank, "POST", path, key="capture") for _ in "12"]
    assert [answer.body["captured_cents"] for answer in captured] == [700, 700]


async def test_a_forbidden_operation_is_409_and_names_the_state(bank: RunningService) -> None:
    made = await call(bank, "POST", "/authorizations", json=body())
    path = f"/authorizations/{made.body['id']}"
    await call(bank, "POST", f"{path}/void")
    refused = await call(bank, "POST", f"{path}/capture")
    assert (refused.status, refused.body["status"]) == (409, "voided")


async def test_a_cancelled_reference_accepts_no_authorization(bank: RunningService) -> None:
    cancelled = await call(bank, "POST", "/cancellations", json={"reference": "order-1"})
    late = await call(bank, "POST", "/authorizations", json=body())
    assert (cancelled.status, cancelled.body) == (200, {"items": []})
    assert (late.status, late.body["type"]) == (409, "urn:breakwater:problem:reference-cancelled")


INVALID: list[dict[str, Any]] = [
    {"amount_cents": 0},
    {"amount_cents": -5},
    {"amount_cents": "700"},
    {"currency": "euro"},
    {"card_number": "4242 4242"},
    {"reference": ""},
    {"unknown": 1},
]


async def test_an_invalid_body_is_refused_by_field(bank: RunningService) -> None:
    for wrong in INVALID:
        refused = await call(bank, "POST", "/authorizations", json=body(**wrong))
        assert refused.status == 422, wrong
        assert [error["field"] for error in refused.body["errors"]] == list(wrong)


async def test_users_and_unknown_callers_are_refused(bank: RunningService) -> None:
    user = await call(bank, "POST", "/authorizations", json=body(), token=bank.user_token(new_id()))
    unknown = await call(bank, "POST", "/authorizations", json=body(), token="nonsense")
    keyless = await call(bank, "POST", "/authorizations", json=body(), key="")
    assert (user.status, unknown.status, keyless.status) == (403, 401, 400)
    assert (await call(bank, "POST", f"/authorizations/{new_id()}/capture")).status == 404
