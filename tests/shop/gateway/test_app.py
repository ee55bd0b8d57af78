"""The gateway as a real process in front of fake services."""

from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from shop.gateway.routes import ROUTES
from tests.fixtures.running import RunningService
from tests.shop.gateway.upstreams import StartGateway, Upstreams, after, always, in_turn

ORDER = {"lines": [{"sku": "SKU-0001", "quantity": 1}], "payment": {"card_number": "4242"}}


async def call(
    gateway: RunningService, method: str, path: str, user: str = "", **options: Any
) -> tuple[int, Any, Any]:
    headers = dict(options.pop("headers", {}))
    if user:
        headers["Authorization"] = f"Bearer {gateway.user_token(user)}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, gateway.url + path, headers=headers, **options) as answer,
    ):
        return answer.status, await answer.json(content_type=None), answer.headers


async def test_requests_and_answers_are_forwarded_unchanged(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders")
    upstreams.answers["orders"] = always(
        201, {"id": "o1"}, Idempotency_Replayed="true", Set_Cookie="a=b", X_Inside="secret"
    )
    body = b'{ "odd"  :   "spacing stays" }'
    headers = {
        "Idempotency-Key": "k1", "Content-Type": "application/json", "Cookie": "c=d",
        "Breakwater-Caller": "orders", "Breakwater-Lab": "resilience=none", "X-Own": "1",
    }  # fmt: skip
    status, answer, got = await call(
        gateway, "POST", "/api/orders?q=a%20b%26c&q=%C3%A9", "ann", data=body, headers=headers
    )
    assert (status, answer, got["Idempotency-Replayed"]) == (201, {"id": "o1"}, "true")
    assert not {"Set-Cookie", "X-Inside"} & set(got)
    (seen,) = upstreams.seen["orders"]
    assert (seen.method, seen.body) == ("POST", body)
    assert parse_qsl(urlsplit(seen.path).query) == [("q", "a b&c"), ("q", "é")]
    assert seen.headers["authorization"] == f"Bearer {gateway.user_token('ann')}"
    assert seen.headers["idempotency-key"] == "k1"
    assert seen.headers["breakwater-caller"] == "gateway"
    assert seen.headers["breakwater-lab"] == "resilience=none"
    assert 0 < float(seen.headers["breakwater-budget-ms"]) <= 5000
    assert "traceparent" in seen.headers
    assert not {"cookie", "x-own"} & seen.headers.keys()


async def test_outside_a_lab_the_lab_header_is_dropped(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", LAB_TOKEN="")
    headers = {"Breakwater-Lab": "resilience=none"}
    await call(gateway, "GET", "/api/products/SKU-0001", headers=headers)
    (seen,) = upstreams.seen["products"]
    assert "breakwater-lab" not in seen.headers


async def test_a_client_may_shorten_the_deadline_but_not_extend_it(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", DEADLINE_GET_PRODUCT_S="1.5")
    for requested, granted in (("100", 100), ("999999", 1500)):
        headers = {"Breakwater-Budget-Ms": requested}
        await call(gateway, "GET", "/api/products/SKU-0001", headers=headers)
        assert float(upstreams.seen["products"][-1].headers["breakwater-budget-ms"]) <= granted


async def test_refusals_of_services_are_forwarded_unchanged(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders")
    upstreams.answers["orders"] = always(402, {"title": "Payment declined", "order_id": "o1"})
    status, problem, _ = await call(
        gateway, "POST", "/api/orders", "ann", json=ORDER, headers={"Idempotency-Key": "k1"}
    )
    assert (status, problem) == (402, {"title": "Payment declined", "order_id": "o1"})


async def test_without_key_or_token_nothing_is_forwarded(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders")
    status, _, _ = await call(gateway, "POST", "/api/orders", "ann", json=ORDER)
    assert status == 400
    status, _, headers = await call(
        gateway, "POST", "/api/orders", json=ORDER, headers={"Idempotency-Key": "k1"}
    )
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert not upstreams.seen["orders"]


async def test_a_transient_failure_is_retried(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products")
    upstreams.answers["products"] = in_turn(always(503, {}), always(200, {"id": "SKU-0001"}))
    status, product, _ = await call(gateway, "GET", "/api/products/SKU-0001")
    assert (status, product) == (200, {"id": "SKU-0001"})
    assert len(upstreams.seen["products"]) == 2


async def test_a_missing_service_is_503_and_a_slow_one_is_504(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("products", DEADLINE_GET_PRODUCT_S="0.2")
    status, problem, headers = await call(gateway, "GET", "/api/orders", "ann")
    assert (status, problem["status"]) == (503, 503)
    assert problem["definite"] is True
    assert int(headers["Retry-After"]) >= 1
    upstreams.answers["products"] = after(5, always(200, {}))
    status, problem, headers = await call(gateway, "GET", "/api/products/SKU-0001")
    assert (status, problem["status"]) == (504, 504)
    assert int(headers["Retry-After"]) >= 1


async def test_each_user_has_a_rate_limit(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders", RATE_LIMIT_PER_S="0.01", RATE_LIMIT_BURST="3")
    upstreams.answers["orders"] = always(200, {"items": []})
    answers = [await call(gateway, "GET", "/api/orders", "ann") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    _, problem, headers = answers[3]
    assert problem["type"] == "urn:breakwater:problem:too-many-requests"
    assert int(headers["Retry-After"]) >= 1
    assert (await call(gateway, "GET", "/api/orders", "bob"))[0] == 200


async def test_invalid_tokens_are_limited_by_the_address_that_nginx_saw(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders", REFUSED_PER_S="0.01", REFUSED_BURST="3")
    upstreams.answers["orders"] = always(200, {"items": []})

    async def guess(address: str) -> int:
        headers = {"Authorization": "Bearer guess", "X-Forwarded-For": address}
        return (await call(gateway, "GET", "/api/orders", headers=headers))[0]

    assert [await guess("192.0.2.1") for _ in range(5)] == [401, 401, 401, 429, 429]
    assert await guess("192.0.2.2") == 401
    assert (await call(gateway, "GET", "/api/orders", "ann"))[0] == 200


async def test_an_order_is_shown_with_its_payment_and_mails(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders", "payments", "notifications")
    upstreams.answers["orders"] = always(200, {"id": "o1", "status": "confirmed"})
    upstreams.answers["payments"] = always(200, {"order_id": "o1", "status": "captured"})
    upstreams.answers["notifications"] = always(200, {"items": [{"kind": "OrderConfirmed"}]})
    status, details, _ = await call(gateway, "GET", "/api/orders/o1", "ann")
    assert status == 200
    assert details == {
        "id": "o1",
        "status": "confirmed",
        "payment": {"order_id": "o1", "status": "captured"},
        "mails": [{"kind": "OrderConfirmed"}],
        "degraded": [],
    }
    assert upstreams.seen["notifications"][0].path == "/notifications?order_id=o1"
    for service in ("orders", "payments", "notifications"):
        token = upstreams.seen[service][0].headers["authorization"]
        assert token == f"Bearer {gateway.user_token('ann')}"


async def test_an_order_without_payment_yet_is_not_degraded(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders", "payments", "notifications")
    upstreams.answers["orders"] = always(200, {"id": "o1"})
    upstreams.answers["notifications"] = always(200, {"items": []})
    _, details, _ = await call(gateway, "GET", "/api/orders/o1", "ann")
    assert details == {"id": "o1", "payment": None, "mails": [], "degraded": []}


@pytest.mark.parametrize(
    ("services", "payments"),
    [
        (("orders", "notifications"), always(200, {})),
        (("orders", "notifications", "payments"), always(500, {})),
        (("orders", "notifications", "payments"), after(5, always(200, {}))),
    ],
    ids=["missing", "failing", "slow"],
)
async def test_a_failure_of_payments_only_degrades_the_order(
    start_gateway: StartGateway, upstreams: Upstreams, services: tuple[str, ...], payments: Any
) -> None:
    gateway = await start_gateway(*services, DETAILS_PART_TIMEOUT_S="0.3")
    upstreams.answers |= {"orders": always(200, {"id": "o1"}), "payments": payments}
    upstreams.answers["notifications"] = always(200, {"items": [{"kind": "OrderConfirmed"}]})
    status, details, _ = await call(gateway, "GET", "/api/orders/o1", "ann")
    assert status == 200
    assert details["degraded"] == ["payment"]
    assert details["payment"] is None
    assert details["mails"] == [{"kind": "OrderConfirmed"}]


async def test_an_unknown_order_is_404_whatever_the_other_services_answer(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = await start_gateway("orders", "payments", "notifications")
    upstreams.answers["payments"] = after(5, always(200, {}))
    status, _, _ = await call(gateway, "GET", "/api/orders/o1", "ann")
    assert status == 404


async def test_the_documentation_lists_all_routes_and_loads_nothing_external(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway()
    async with aiohttp.ClientSession() as session:
        page = await (await session.get(gateway.url + "/api/docs")).text()
        document = await (await session.get(gateway.url + "/api/openapi.json")).json()
    assert "http://" not in page
    assert "https://" not in page
    assert " src=" not in page
    assert set(document["paths"]) == {route.path for route in ROUTES} | {"/api/orders/{order_id}"}
    assert set(document["paths"]) >= {
        "/api/users", "/api/login", "/api/refresh", "/api/me", "/api/products",
        "/api/products/{product_id}", "/api/categories", "/api/orders", "/api/orders/{order_id}",
        "/api/orders/{order_id}/cancel",
    }  # fmt: skip
    for path, operations in document["paths"].items():
        assert path in page
        for operation in operations.values():
            assert escape(operation["summary"]) in page
    assert "4242424242424242" in page, "the example order is ready to copy"
