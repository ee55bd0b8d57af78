"""The running payments with the running bank, over HTTP."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest

from chassis.ids import new_id
from tests.fixtures.running import Running, RunningService
from tests.fixtures.waiting import wait_until_async
from tests.shop.service_calls import Answer, add_fault, call

GOOD, DECLINED = "4242424242424242", "4000000000000002"


def body(card: str = GOOD, **other: Any) -> dict[str, Any]:
    return {
        "order_id": new_id(), "user_id": new_id(), "amount_cents": 700, "currency": "EUR",
        "card_number": card, **other,
    }  # fmt: skip


async def authorized(payments: RunningService) -> str:
    """The id of an order whose payment is authorized."""
    wanted = body()
    answer = await call(payments, "POST", "/payments", json=wanted)
    assert answer.status == 201, answer.body
    return str(wanted["order_id"])


async def at_bank(bank: RunningService, order_id: str) -> Any:
    """The bank's only authorization of the order."""
    (item,) = (await call(bank, "GET", f"/authorizations?reference={order_id}")).body["items"]
    return item


@pytest.fixture
async def bank(running: Running) -> RunningService:
    return await running("bank")


@pytest.fixture
async def payments(bank: RunningService, running: Running) -> RunningService:
    return await running("payments", RECONCILE_AFTER_S="0.5", RECONCILE_PERIOD_S="0.1")


async def test_payments_and_the_bank_agree_at_every_step(
    payments: RunningService, bank: RunningService
) -> None:
    order_id = await authorized(payments)
    captured = await call(payments, "POST", f"/payments/{order_id}/capture")
    assert (captured.status, captured.body["captured_cents"]) == (200, 700)
    refunded = await call(payments, "POST", f"/payments/{order_id}/refund")
    assert refunded.body["status"] == (await at_bank(bank, order_id))["status"] == "refunded"


async def test_the_same_key_replays_the_same_answer(payments: RunningService) -> None:
    wanted, key = body(), new_id()
    first = await call(payments, "POST", "/payments", json=wanted, key=key)
    again = await call(payments, "POST", "/payments", json=wanted, key=key)
    other = await call(payments, "POST", "/payments", json={**wanted, "amount_cents": 1}, key=key)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status == 422


async def test_requests_at_the_same_time_move_the_money_once(
    payments: RunningService, bank: RunningService
) -> None:
    wanted = body()
    path = f"/payments/{wanted['order_id']}"
    for target, key in (
        ("/payments", "same"),
        (f"{path}/capture", "same"),
        (f"{path}/refund", None),
    ):
        json = wanted if target == "/payments" else None
        answers = await asyncio.gather(
            *(call(payments, "POST", target, json=json, key=key) for _ in range(6))
        )
        assert {answer.status for answer in answers} == {201 if json else 200}
        assert len({tuple(answer.body.items()) for answer in answers}) == 1
    found = await at_bank(bank, wanted["order_id"])
    assert (found["captured_cents"], found["refunded_cents"]) == (700, 700)


async def test_a_declined_card_is_402_with_the_order_and_the_reason(
    payments: RunningService,
) -> None:
    wanted, key = body(DECLINED), new_id()
    for _ in range(2):
        answer = await call(payments, "POST", "/payments", json=wanted, key=key)
        assert answer.status == 402
        assert answer.body["type"] == "urn:breakwater:problem:payment-declined"
        assert answer.body["order_id"] == wanted["order_id"]
        assert answer.body["reason"] == "card_declined"


async def test_only_services_and_its_user_see_a_payment(payments: RunningService) -> None:
    wanted = body()
    await call(payments, "POST", "/payments", json=wanted)
    path = f"/payments/{wanted['order_id']}"
    own = await call(payments, "GET", path, token=payments.user_token(wanted["user_id"]))
    other = await call(payments, "GET", path, token=payments.user_token(new_id()))
    assert (own.status, own.body["amount_cents"]) == (200, 700)
    assert other.status == 404
    assert (await call(payments, "GET", path)).status == 200
    assert (await call(payments, "GET", f"/payments/{new_id()}")).status == 404


async def test_void_of_an_unknown_order_refuses_a_later_authorization(
    payments: RunningService,
) -> None:
    wanted = body()
    voided = await call(payments, "POST", f"/payments/{wanted['order_id']}/void")
    late = await call(payments, "POST", "/payments", json=wanted)
    assert (voided.status, voided.body["status"]) == (200, "voided")
    assert (late.status, late.body["type"]) == (409, "urn:breakwater:problem:payment-voided")


async def test_without_a_bank_nothing_happens_and_the_payment_can_be_voided(
    running: Running,
) -> None:
    payments = await running("payments")
    wanted = body()
    answer = await call(payments, "POST", "/payments", json=wanted)
    assert (answer.status, answer.body["definite"]) == (503, True)
    assert "Retry-After" in answer.headers
    voided = await call(payments, "POST", f"/payments/{wanted['order_id']}/void")
    assert (voided.status, voided.body["status"]) == (200, "voided")


async def test_a_lost_answer_is_unknown_and_a_retry_with_the_same_key_gets_it(
    payments: RunningService, bank: RunningService
) -> None:
    await add_fault(
        bank, kind="abort", attributes={"status": 504, "when": "after"},
        scope={"method": "POST", "route": "/authorizations", "first_n": 3},
    )  # fmt: skip
    wanted, key = body(), new_id()
    lost = await call(payments, "POST", "/payments", json=wanted, key=key)
    assert (lost.status, lost.body["definite"]) == (503, False)
    assert lost.body["type"] == "urn:breakwater:problem:payment-unknown"
    found = await call(payments, "POST", "/payments", json=wanted, key=key)
    assert (found.status, found.body["status"]) == (201, "authorized")
    assert (await at_bank(bank, wanted["order_id"]))["status"] == "authorized"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_kill_around_a_capture_the_money_is_taken_once(
    payments: RunningService, bank: RunningService, running: Running, when: str
) -> None:
    order_id = await authorized(payments)
    await add_fault(
        payments, kind="crash", point="failpoint",
        scope={"failpoint": f"payments.{when}_bank_capture"},
    )  # fmt: skip
    path, key = f"/payments/{order_id}/capture", new_id()
    with pytest.raises(aiohttp.ClientError):
        await call(payments, "POST", path, key=key)
    assert await asyncio.to_thread(payments.stop) == -signal.SIGKILL
    again = await running("payments")
    captured = await call(again, "POST", path, key=key)
    assert (captured.status, captured.body["captured_cents"]) == (200, 700)
    assert (await at_bank(bank, order_id))["captured_cents"] == 700


async def test_after_a_kill_during_a_refund_the_next_instance_reconciles_it(
    payments: RunningService, bank: RunningService, running: Running
) -> None:
    order_id = await authorized(payments)
    await call(payments, "POST", f"/payments/{order_id}/capture")
    await add_fault(
        payments, kind="crash", point="failpoint",
        scope={"failpoint": "payments.before_bank_refund"},
    )  # fmt: skip
    with pytest.raises(aiohttp.ClientError):
        await call(payments, "POST", f"/payments/{order_id}/refund")
    again = await running("payments", RECONCILE_AFTER_S="0.5", RECONCILE_PERIOD_S="0.1")

    async def refunded() -> bool:
        status: str = (await call(again, "GET", f"/payments/{order_id}")).body["status"]
        return status == "refunded"

    await wait_until_async(refunded, "the reconciler carries the refund through")
    assert (await at_bank(bank, order_id))["refunded_cents"] == 700


async def test_forty_concurrent_captures_take_the_money_once(
    payments: RunningService, bank: RunningService
) -> None:
    order_id = await authorized(payments)
    path = f"/payments/{order_id}/capture"
    answers: list[Answer] = await asyncio.gather(
        *(call(payments, "POST", path, key=f"key-{n % 8}") for n in range(40))
    )
    assert {answer.status for answer in answers} == {200}
    assert (await at_bank(bank, order_id))["captured_cents"] == 700


async def test_without_idempotency_a_repeated_capture_takes_the_money_twice(
    running: Running, bank: RunningService
) -> None:
    payments = await running("payments", IDEMPOTENCY="off")
    order_id = await authorized(payments)
    for _ in range(2):
        await call(payments, "POST", f"/payments/{order_id}/capture", key="the-same")
    assert (await at_bank(bank, order_id))["captured_cents"] == 1400


async def test_wrong_callers_and_invalid_payments_are_refused(payments: RunningService) -> None:
    user = await call(payments, "POST", "/payments", json=body(), token=payments.user_token("u"))
    keyless = await call(payments, "POST", "/payments", json=body(), key="")
    negative = await call(payments, "POST", "/payments", json=body(amount_cents=-1))
    unknown = await call(payments, "POST", f"/payments/{new_id()}/capture")
    early = await call(payments, "POST", f"/payments/{await authorized(payments)}/refund")
    statuses = [answer.status for answer in (user, keyless, negative, unknown, early)]
    assert statuses == [403, 400, 422, 404, 409]


async def test_a_stolen_token_of_another_service_moves_no_money(
    payments: RunningService, bank: RunningService
) -> None:
    order_id = await authorized(payments)
    captured = await call(payments, "POST", f"/payments/{order_id}/capture")
    assert captured.status == 200
    held = await at_bank(bank, order_id)
    for thief in ("gateway", "notifications", "users", "bank", "payments"):
        token = payments.service_token(thief)
        for operation in ("refund", "void", "capture"):
            path = f"/payments/{order_id}/{operation}"
            assert (await call(payments, "POST", path, token=token)).status == 403, thief
    path = f"/authorizations/{held['id']}/refund"
    for thief in ("orders", "gateway"):
        refused = await call(bank, "POST", path, token=bank.service_token(thief))
        assert refused.status == 403, thief
    assert await at_bank(bank, order_id) == held
