"""Fake services behind the gateway: registered under the real names, with answers set by the test."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from nats.aio.client import Client

from chassis.registry import Instance, Registry
from tests.fixtures.running import RunningService
from tests.fixtures.waiting import wait_until_async

Answer = Callable[[web.Request], Awaitable[web.Response]]
StartGateway = Callable[..., Awaitable[RunningService]]


@dataclass
class Seen:
    """One request as the fake service received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstreams:
    """`answers["orders"]` answers for orders, else 404. `seen["orders"]` are the requests to it."""

    broker: Client
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    _closing: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)

    async def add(self, *services: str) -> None:
        for service in services:
            await self._serve(service)

    async def close(self) -> None:
        for close in reversed(self._closing):
            await close()

    async def _serve(self, service: str) -> None:
        self.seen[service] = []

        async def handle(request: web.Request) -> web.Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            body = await request.read()
            self.seen[service].append(Seen(request.method, request.path_qs, headers, body))
            answer = self.answers.get(service)
            return await answer(request) if answer else json(404, {"title": "Not found"})

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._closing.append(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        registry = Registry(self.broker)
        await registry.open()
        self._closing.append(registry.close)
        await registry.announce(Instance(service, f"{service}-upstream", f"127.0.0.1:{port}"))


PROBES = {"products": "/api/categories", "orders": "/api/orders"}


async def wait_until_found(gateway: RunningService, upstreams: Upstreams) -> None:
    """Wait until the gateway has found the fake services, then clear `seen`."""
    headers = {"Authorization": f"Bearer {gateway.user_token('prober')}"}
    known = dict(upstreams.answers)
    upstreams.answers["orders"] = always(200, {})
    paths = [PROBES[service] for service in upstreams.seen if service in PROBES]
    parts = {"payments": "payment", "notifications": "mails"}
    expected = {parts[service] for service in upstreams.seen if service in parts}
    async with aiohttp.ClientSession(gateway.url, headers=headers) as session:

        async def are_found() -> bool:
            for path in paths:
                if (await session.get(path)).status == 503:
                    return False
            if not expected:
                return True
            details = await (await session.get("/api/orders/probe")).json()
            return expected.isdisjoint(details["degraded"])

        await wait_until_async(are_found, "the gateway finds the stand-ins", 20)
    upstreams.answers = known
    for requests in upstreams.seen.values():
        requests.clear()


def json(status: int, body: Any, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(body, status=status, headers=named)


def always(status: int, body: Any, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return json(status, body, **headers)

    return answer


def after(seconds: float, answer: Answer) -> Answer:
    async def delayed(request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)  # a slow service
        return await answer(request)

    return delayed


def in_turn(*answers: Answer) -> Answer:
    """The n-th call gets the n-th answer; further calls get the last one."""
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer
