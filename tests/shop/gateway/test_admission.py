"""Overload and loss at the gateway: who is let in first, and what is shown of a catalogue that is gone."""

import asyncio
from typing import Any

import aiohttp
import pytest

from chassis.clock import SystemClock
from chassis.http import context
from chassis.resilience.errors import ShedError
from chassis.resilience.profile import ProfileError
from shop.gateway.admission import ACCOUNT, BROWSE, CHECKOUT, AdmissionControl
from shop.gateway.routes import ROUTES
from tests.shop.gateway.conftest import StartGateway
from tests.shop.gateway.upstreams import Upstreams, after, always


class Crowd:
    """Requests that wait inside the admission control until they are released."""

    def __init__(self, admission: AdmissionControl) -> None:
        self._admission = admission
        self._go = asyncio.Event()
        self._inside: list[asyncio.Task[Any]] = []

    async def enter(self, count: int, priority: int) -> None:
        self._inside += [
            asyncio.create_task(self._admission.admit(priority, self._stand)) for _ in range(count)
        ]
        await asyncio.sleep(0)

    async def leave(self) -> None:
        self._go.set()
        await asyncio.gather(*self._inside)

    async def _stand(self) -> Any:
        await self._go.wait()


async def _answer() -> Any:
    return "served"


async def test_browsing_is_turned_away_before_accounts_and_checkout_last() -> None:
    admission = AdmissionControl("full", SystemClock())
    crowd = Crowd(admission)
    await crowd.enter(60, CHECKOUT)
    with pytest.raises(ShedError) as shed:
        await admission.admit(BROWSE, _answer)
    assert shed.value.definite is True
    assert shed.value.retry_after_s == 1.0
    assert await admission.admit(ACCOUNT, _answer) == "served"
    await crowd.enter(20, CHECKOUT)
    with pytest.raises(ShedError):
        await admission.admit(ACCOUNT, _answer)
    assert await admission.admit(CHECKOUT, _answer) == "served"
    await crowd.leave()
    assert await admission.admit(BROWSE, _answer) == "served"


async def test_below_full_by_switch_and_by_header_the_door_is_open() -> None:
    for profile, switch, header in (
        ("breaker", True, ""),
        ("full", False, ""),
        ("full", True, "resilience=none"),
    ):
        admission = AdmissionControl(profile, SystemClock())
        admission.switch("shed", switch)
        crowd = Crowd(admission)
        await crowd.enter(100, CHECKOUT)
        context.current.set(context.RequestContext(lab=header))
        assert await admission.admit(BROWSE, _answer) == "served"
        context.current.set(None)
        await crowd.leave()


def test_the_door_has_one_switch() -> None:
    with pytest.raises(ProfileError, match="expected shed"):
        AdmissionControl("full", SystemClock()).switch("breaker", False)


def test_each_public_route_has_its_class() -> None:
    classes = {route.name: route.priority for route in ROUTES}
    assert {name for name, rank in classes.items() if rank == CHECKOUT} == {"login", "place_order"}
    assert {name for name, rank in classes.items() if rank == BROWSE} == {
        "list_products", "get_product", "list_categories",
    }  # fmt: skip


async def test_shed_requests_are_told_so_and_when_to_come_again(
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
        while status != 503:  # until they have all arrived
            async with session.get(gateway.url + "/api/products/SKU-0001") as answer:
                status, problem, told = answer.status, await answer.json(), answer.headers
        assert problem["type"] == "urn:breakwater:problem:shed"
        assert problem["definite"] is True
        assert int(told["Retry-After"]) >= 1
        async with session.get(gateway.url + "/health") as answer:
            assert answer.status == 200
        for task in waiting:
            task.cancel()


async def test_a_catalogue_page_seen_before_is_shown_with_its_age_when_products_is_gone(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", "orders")
    upstreams.answers["products"] = always(200, {"id": "SKU-0001", "price_cents": 100})
    async with aiohttp.ClientSession(gateway.url) as session:
        async with session.get("/api/products/SKU-0001") as answer:
            assert "Breakwater-Stale" not in answer.headers
        upstreams.answers["products"] = always(503, {"title": "gone"})
        async with session.get("/api/products/SKU-0001") as answer:
            assert answer.status == 200
            assert await answer.json() == {"id": "SKU-0001", "price_cents": 100}
            assert 0.0 <= float(answer.headers["Breakwater-Stale"]) < 60.0
        async with session.get("/api/products/SKU-0002") as answer:
            assert answer.status == 503
        async with session.get("/api/products/SKU-0001?x=1") as answer:
            assert answer.status == 503, "another question has another answer"


async def test_what_is_somebodys_own_is_never_stale(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders")
    headers = {"Authorization": f"Bearer {gateway.user_token('ann')}"}
    upstreams.answers["orders"] = always(200, {"items": []})
    async with aiohttp.ClientSession(gateway.url, headers=headers) as session:
        async with session.get("/api/orders") as answer:
            assert answer.status == 200
        upstreams.answers["orders"] = always(503, {"title": "gone"})
        async with session.get("/api/orders") as answer:
            assert answer.status == 503
