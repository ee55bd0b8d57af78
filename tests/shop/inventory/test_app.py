"""The running inventory over HTTP."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest

from chassis.ids import new_id
from shop.inventory.seed import quantity
from tests.fixtures.running import Running, RunningService
from tests.fixtures.waiting import wait_until_async
from tests.shop.service_calls import add_fault, call


@pytest.fixture
async def inventory(running: Running) -> RunningService:
    return await running("inventory")


def body(order_id: str | None = None, **lines: int) -> dict[str, Any]:
    wanted = [{"sku": f"SKU-{sku[1:]}", "quantity": units} for sku, units in lines.items()]
    return {"order_id": order_id or new_id(), "lines": wanted}


async def stock(service: RunningService, sku: str = "SKU-0001") -> dict[str, Any]:
    found: dict[str, Any] = (await call(service, "GET", f"/stock/{sku}")).body
    return found


async def test_the_stock_follows_the_states_of_a_reservation(inventory: RunningService) -> None:
    wanted = body(S0001=3)
    path = f"/reservations/{wanted['order_id']}"
    initial = quantity(1)
    made = await call(inventory, "POST", "/reservations", json=wanted)
    assert (made.status, made.body["status"]) == (201, "held")
    assert made.body["expires_at"] is not None
    await call(inventory, "POST", f"{path}/commit")
    after = await stock(inventory)
    assert (after["initial"], after["on_hand"], after["reserved"], after["shipped"]) == (
        initial, initial - 3, 0, 3,
    )  # fmt: skip
    assert after["available"] == after["on_hand"]
    returned = await call(inventory, "POST", f"{path}/return")
    assert (returned.status, returned.body["status"]) == (200, "returned")
    assert (await stock(inventory))["on_hand"] == initial


async def test_the_same_key_replays_and_another_body_is_refused(inventory: RunningService) -> None:
    wanted, key = body(S0001=3), new_id()
    first = await call(inventory, "POST", "/reservations", json=wanted, key=key)
    again = await call(inventory, "POST", "/reservations", json=wanted, key=key)
    other = await call(inventory, "POST", "/reservations", json=body(S0001=4), key=key)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status == 422
    assert (await stock(inventory))["reserved"] == 3


async def test_a_refusal_names_what_is_missing(inventory: RunningService) -> None:
    short = await call(inventory, "POST", "/reservations", json=body(S0991=100))
    assert (short.status, short.body["sku"]) == (409, "SKU-0991")
    assert short.body["available"] == quantity(991)
    unknown = await call(inventory, "POST", "/reservations", json=body(S9999=1))
    assert (unknown.status, unknown.body["skus"]) == (422, ["SKU-9999"])
    assert (await call(inventory, "GET", "/stock/SKU-9999")).status == 404
    assert (await call(inventory, "POST", f"/reservations/{new_id()}/commit")).status == 404


async def test_release_of_an_unknown_order_refuses_a_late_reservation(
    inventory: RunningService,
) -> None:
    wanted = body(S0001=3)
    released = await call(inventory, "POST", f"/reservations/{wanted['order_id']}/release")
    late = await call(inventory, "POST", "/reservations", json=wanted)
    assert (released.status, released.body["status"]) == (200, "released")
    assert (late.status, late.body["type"]) == (409, "urn:breakwater:problem:reservation-released")


async def test_an_uncommitted_reservation_expires_and_is_put_back(running: Running) -> None:
    inventory = await running("inventory", RESERVATION_TTL_S="0.3", RESERVATION_SWEEP_S="0.05")
    wanted = body(S0001=3)
    await call(inventory, "POST", "/reservations", json=wanted)

    async def put_back() -> bool:
        return bool((await stock(inventory))["reserved"] == 0)

    await wait_until_async(put_back, "the reservation expires")
    committed = await call(inventory, "POST", f"/reservations/{wanted['order_id']}/commit")
    assert (committed.status, committed.body["status"]) == (200, "committed")


@pytest.mark.parametrize(("when", "reserved"), [("before", 0), ("after", 3)])
async def test_after_a_kill_around_the_commit_a_retry_reserves_once(
    inventory: RunningService, running: Running, when: str, reserved: int
) -> None:
    await add_fault(
        inventory, kind="crash", point="failpoint",
        scope={"failpoint": f"inventory.{when}_commit"},
    )  # fmt: skip
    wanted, key = body(S0001=3), new_id()
    with pytest.raises(aiohttp.ClientError):
        await call(inventory, "POST", "/reservations", json=wanted, key=key)
    assert await asyncio.to_thread(inventory.stop) == -signal.SIGKILL
    again = await running("inventory")
    assert (await stock(again))["reserved"] == reserved
    answer = await call(again, "POST", "/reservations", json=wanted, key=key)
    assert answer.status == 201
    assert (await stock(again))["reserved"] == 3


async def test_concurrent_orders_of_a_scarce_sku_sell_exactly_the_stock(
    inventory: RunningService,
) -> None:
    there = quantity(995)
    answers = await asyncio.gather(
        *(call(inventory, "POST", "/reservations", json=body(S0995=1)) for _ in range(there + 15))
    )
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (there, 15)
    assert (await stock(inventory, "SKU-0995"))["on_hand"] == 0


NONSENSE: list[tuple[list[Any], str]] = [
    ([], "lines"),
    ([{"sku": "SKU-0001", "quantity": 0}], "lines.0.quantity"),
    ([{"sku": "SKU-0001", "quantity": -3}], "lines.0.quantity"),
    ([{"sku": "SKU-0001", "quantity": 101}], "lines.0.quantity"),
    ([{"sku": "SKU-0001", "quantity": 1}] * 21, "lines"),
    ([{"sku": "", "quantity": 1}], "lines.0.sku"),
]


async def test_invalid_lines_are_refused_by_field(inventory: RunningService) -> None:
    for lines, field in NONSENSE:
        wanted = {"order_id": new_id(), "lines": lines}
        refused = await call(inventory, "POST", "/reservations", json=wanted)
        assert refused.status == 422, lines
        assert [error["field"] for error in refused.body["errors"]] == [field]


async def test_users_cannot_reserve_and_a_key_is_required(inventory: RunningService) -> None:
    token = inventory.user_token("u")
    user = await call(inventory, "POST", "/reservations", json=body(S0001=1), token=token)
    keyless = await call(inventory, "POST", "/reservations", json=body(S0001=1), key="")
    assert (user.status, keyless.status) == (403, 400)
