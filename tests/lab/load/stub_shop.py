"""A tiny shop over real HTTP, whose answers a test can spoil, for the load to run against."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Spoil = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class StubShop:
    """Answers like the shop; `spoil` may answer first. Records log-ins and keys."""

    def __init__(self) -> None:
        self.url = ""
        self.logins: list[str] = []
        self.keys: list[str] = []
        self.spoil: Spoil | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/orders" and request.method == "POST":
            self.keys.append(request.headers["Idempotency-Key"])
        if self.spoil and (spoiled := await self.spoil(request)):
            return spoiled
        headers = {"X-Request-Id": "a" * 32}
        if request.path == "/api/login":
            self.logins.append((await request.json())["email"])
            return web.json_response(
                {"access_token": "t", "refresh_token": "r", "expires_in_s": 900}, headers=headers
            )
        if request.path == "/api/orders" and request.method == "POST":
            assert request.headers["Authorization"] == "Bearer t"
            body = {
                "id": f"order-{len(self.keys)}",
                "status": "confirmed",
                "lines": [],
                "version": 3,
            }
            return web.json_response(body, status=201, headers=headers)
        if request.path.startswith("/api/orders/"):
            order_id = request.path.split("/")[3]
            body = {"id": order_id, "status": "cancelled", "lines": [], "version": 4}
            return web.json_response(body, headers=headers)
        return web.json_response({"items": []}, headers=headers)
