"""How the forwarder turns the table of routes into calls, with a fake client."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from chassis.clock import SystemClock
from chassis.http.client_limits import ClientLimits, TooManyRequestsError
from chassis.http.response import Response
from chassis.settings import Settings
from shop.gateway.admission import AdmissionControl
from shop.gateway.forward import Forwarder, NothingHereError, endpoint
from shop.gateway.routes import ROUTES, Route

BY_NAME = {route.name: route for route in ROUTES}


class FakeClient:
    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.status = 200

    async def request(self, method: str, path: str, **options: Any) -> Response:
        self.calls.append({"method": method, "path": path, **options})
        return Response(
            self.status, b'{"as": "it came"}', {"content-type": "application/json", "server": "x"}
        )


class FakeService:
    settings = Settings("gateway", "gateway-1", 1, "secret", env={"DEADLINE_LOGIN_S": "7"})

    def __init__(self) -> None:
        self.clients: dict[str, FakeClient] = {}

    def client(self, callee: str) -> FakeClient:
        return self.clients.setdefault(callee, FakeClient())


def request(route: Route, body: bytes = b"", token: str = "", **path_params: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http", "method": route.method, "path": route.path, "path_params": path_params,
        "query_string": b"limit=5&cursor=%41", "state": {},
        "headers": [(b"idempotency-key", b"k1"), (b"cookie", b"a=b"), (b"connection", b"close")],
    }  # fmt: skip
    made = Request(scope, receive)
    if token:
        made.state.token = token
    return made


async def sent(name: str, body: bytes = b"", token: str = "", **path_params: str) -> dict[str, Any]:
    service = FakeService()
    route = BY_NAME[name]
    forwarder = Forwarder(service, ROUTES)  # type: ignore[arg-type]
    answer = await forwarder.forward(route, request(route, body, token, **path_params))
    assert answer.body == b'{"as": "it came"}'
    assert "server" not in answer.headers
    return service.clients[route.service].calls[0]


async def test_a_login_may_be_retried_and_a_refresh_may_not() -> None:
    assert (await sent("refresh", b"{}"))["idempotent"] is False
    assert (await sent("login", b"{}"))["idempotent"] is True


async def test_only_listed_headers_are_forwarded() -> None:
    call = await sent("cancel_order", b"{}", token="t", order_id="0190-ab")
    assert call["path"] == "/orders/0190-ab/cancel"
    assert call["route"] == "/orders/{order_id}/cancel"
    assert (call["key"], call["token"], call["content"]) == ("k1", "t", b"{}")
    assert call["headers"] == {"content-type": "application/json"}


async def test_a_read_forwards_the_query_and_no_body() -> None:
    call = await sent("list_products", b"ignored")
    assert call["params"] == [("limit", "5"), ("cursor", "A")]
    assert (call["content"], call["key"]) == (None, None)


@pytest.mark.parametrize("value", ["..", ".", "a/b", "%2e", "a b", "", "x" * 65, "é", "a\n"])
async def test_a_value_that_is_not_an_id_never_enters_a_path(value: str) -> None:
    with pytest.raises(NothingHereError):
        await sent("get_product", product_id=value)


def test_only_posts_about_a_session_have_no_key() -> None:
    keyless = {route.name for route in ROUTES if route.method == "POST" and not route.key}
    assert keyless == {"login", "refresh", "log_out"}


@pytest.mark.parametrize("name", ["login", "refresh"])
async def test_refused_secrets_are_limited_by_address_and_good_ones_are_not(name: str) -> None:
    service, route = FakeService(), BY_NAME[name]
    client = service.client(route.service)
    state = SimpleNamespace(
        forwarder=Forwarder(service, ROUTES),  # type: ignore[arg-type]
        admission=AdmissionControl("none", SystemClock()),
        refused=ClientLimits(0.01, 3, SystemClock()),
    )
    answer = endpoint(route)

    async def attempt(status: int, address: bytes) -> int:
        client.status = status
        made = request(route, b"{}")
        made.scope["headers"].append((b"x-forwarded-for", b"203.0.113.9, " + address))
        made.scope["app"] = SimpleNamespace(state=state)
        try:
            return (await answer(made)).status_code
        except TooManyRequestsError as error:
            return error.status

    assert [await attempt(200, b"192.0.2.1") for _ in range(5)] == [200] * 5
    assert [await attempt(401, b"192.0.2.1") for _ in range(4)] == [401, 401, 401, 429]
    calls = len(client.calls)
    assert await attempt(200, b"192.0.2.1") == 429
    assert len(client.calls) == calls, "a limited address costs no password check"
    assert await attempt(200, b"192.0.2.2") == 200
