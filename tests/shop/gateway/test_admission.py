"""The gateway under overload and without a catalogue: priorities, load shedding and stale answers."""

import asyncio
from typing import Any

import aiohttp
import pytest

from chassis.clock import SystemClock
from chassis.http import context
from chassis.resilience.errors import ShedError
from chassis.resilience.profile import ProfileError
from shop.gateway.admission import ACCOUNT, BROWSE, CHECKOUT, SAMPLE_S, AdmissionControl
from shop.gateway.routes import ROUTES
from tests.fixtures.waiting import wait_until_async
from tests.shop.gateway.upstreams import StartGateway, Upstreams, after, always


class AdmittedRequests:
    """Requests that stay admitted until they are released."""

    def __init__(self, admission: AdmissionControl) -> None:
        self._admission = admission
        self._released = asyncio.Event()
        self._requests: list[asyncio.Task[Any]] = []

    async def add(self, count: int, priority: int) -> None:
        self._requests += [
            asyncio.create_task(self._admission.admit(priority, self._wait)) for _ in range(count)
        ]
        await asyncio.sleep(0)

    async def release(self) -> None:
        self._released.set()
        await asyncio.gather(*self._requests)

    async def _wait(self) -> Any:
        await self._released.wait()


async def _answer() -> Any:
    return "served"


async def test_browsing_is_shed_first_and_checkout_last() -> None:
    admission = AdmissionControl("full", SystemClock())
    admitted = AdmittedRequests(admission)
    await admitted.add(60, CHECKOUT)
    with pytest.raises(ShedError) as shed:
        await admission.admit(BROWSE, _answer)
    assert shed.value.definite is True
    assert shed.value.retry_after_s == 1.0
    assert await admission.admit(ACCOUNT, _answer) == "served"
    await admitted.add(20, CHECKOUT)
    with pytest.raises(ShedError):
        await admission.admit(ACCOUNT, _answer)
    assert await admission.admit(CHECKOUT, _answer) == "served"
    await admitted.release()
    assert await admission.admit(BROWSE, _answer) == "served"


async def test_nothing_is_shed_below_profile_full_or_when_switched_off() -> None:
    for profile, switch, header in (
        ("breaker", True, ""),
        ("full", False, ""),
        ("full", True, "resilience=none"),
    ):
        admission = AdmissionControl(profile, SystemClock())
        admission.switch("shed", switch)
        admitted = AdmittedRequests(admission)
        await admitted.add(100, CHECKOUT)
        context.current.set(context.RequestContext(lab=header))
        assert await admission.admit(BROWSE, _answer) == "served"
        context.current.set(None)
        await admitted.release()


def test_admission_control_has_one_switch() -> None:
    with pytest.raises(ProfileError, match="expected shed"):
        AdmissionControl("full", SystemClock()).switch("breaker", False)


def test_each_public_route_has_its_priority() -> None:
    named = {
        rank: {route.name for route in ROUTES if route.priority == rank}
        for rank in (BROWSE, CHECKOUT)
    }
    assert named[CHECKOUT] == {"login", "place_order"}
    assert named[BROWSE] >= {"list_products", "get_product", "list_categories"}
    shared = {route.name for route in ROUTES if route.shared}
    assert named[BROWSE] == shared, "a read without a token has `priority=BROWSE`, others have not"


async def test_a_shed_request_gets_503_with_retry_after(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", "orders")
    upstreams.answers["orders"] = after(3, always(200, {"items": []}))
    headers = {"Authorization": f"Bearer {gateway.user_token('ann')}"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):

        async def own_orders() -> int:
            async with session.get(gateway.url + "/api/orders", headers=headers) as answer:
                return answer.status

        waiting = [asyncio.create_task(own_orders()) for _ in range(70)]
        status = 0
        while status != 503:  # until all of them are in flight
            async with session.get(gateway.url + "/api/products/SKU-0001") as answer:
                status, problem, got = answer.status, await answer.json(), answer.headers
        assert problem["type"] == "urn:breakwater:problem:shed"
        assert problem["definite"] is True
        assert int(got["Retry-After"]) >= 1
        async with session.get(gateway.url + "/health") as answer:
            assert answer.status == 200
        for task in waiting:
            task.cancel()


async def test_when_products_fails_a_known_page_is_shown_with_its_age(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", "orders")
    upstreams.answers["products"] = always(200, {"id": "SKU-0001", "price_cents": 100})
    async with aiohttp.ClientSession(gateway.url) as session:
        async with session.get("/api/products/SKU-0001") as answer:
            assert "Breakwater-Stale" not in answer.headers
        upstreams.answers["products"] = always(503, {"title": "down"})
        async with session.get("/api/products/SKU-0001") as answer:
            assert answer.status == 200
            assert await answer.json() == {"id": "SKU-0001", "price_cents": 100}
            assert 0.0 <= float(answer.headers["Breakwater-Stale"]) < 60.0
        async with session.get("/api/products/SKU-0002") as answer:
            assert answer.status == 503
        async with session.get("/api/products/SKU-0001?x=1") as answer:
            assert answer.status == 503, "another query has another answer"


async def test_a_users_own_data_is_never_stale(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders")
    headers = {"Authorization": f"Bearer {gateway.user_token('ann')}"}
    upstreams.answers["orders"] = always(200, {"items": []})
    async with aiohttp.ClientSession(gateway.url, headers=headers) as session:
        async with session.get("/api/orders") as answer:
            assert answer.status == 200
        upstreams.answers["orders"] = always(503, {"title": "down"})
        async with session.get("/api/orders") as answer:
            assert answer.status == 503


async def test_the_queue_is_watched_while_there_are_requests_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admission = AdmissionControl("full", SystemClock())
    delays: list[float] = []
    monkeypatch.setattr(admission.shedder, "observe_queue", delays.append)
    watching = asyncio.create_task(admission.watch_queue_delay())
    for round_number in range(1, 3):
        admitted = AdmittedRequests(admission)
        await admitted.add(1, BROWSE)
        await wait_until_async(lambda: len(delays) >= 2, f"samples in round {round_number}")
        await admitted.release()
        await asyncio.sleep(SAMPLE_S * 2)  # the last sample
        delays.clear()
        await asyncio.sleep(SAMPLE_S * 5)
        assert delays == []
    watching.cancel()
