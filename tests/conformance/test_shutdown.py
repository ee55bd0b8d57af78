"""On SIGTERM a service leaves the registry, finishes its requests and exits. Lab routes exist only in a lab."""

import asyncio
import json
import signal
from typing import Any

import aiohttp
import nats as nats_py
import pytest
from nats.js.errors import KeyNotFoundError

from chassis.registry import BUCKET
from tests.fixtures.running import Running, RunningService
from tests.fixtures.waiting import wait_until_async

LATE_MS = 800


async def faults(
    service: RunningService, http: aiohttp.ClientSession, **spec: object
) -> list[dict[str, Any]]:
    """Add the fault if one is given, and return the active faults."""
    headers = {"Authorization": f"Bearer {service.settings.lab_token}"}
    url = service.url + "/_lab/faults"
    if spec:
        async with http.post(url, json=spec, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
    async with http.get(url, headers=headers) as answer:
        items: list[dict[str, Any]] = (await answer.json())["items"]
        return items


async def test_requests_in_flight_at_sigterm_are_answered(
    running: Running, name: str, nats: str
) -> None:
    service = await running(name)
    broker = await nats_py.connect(nats)
    registry = await broker.jetstream().key_value(BUCKET)
    key = f"{name}.{service.settings.instance}"
    async with aiohttp.ClientSession() as http:
        entry = json.loads((await registry.get(key)).value or b"")
        assert service.url.endswith(entry["address"])
        await faults(
            service, http, kind="latency", attributes={"latency_ms": LATE_MS}, point="inbound",
            scope={"route": "/openapi.json"}, ttl_s=30,
        )  # fmt: skip
        pending = asyncio.create_task(read(http, service.url + "/openapi.json"))

        async def is_in_flight() -> bool:
            return bool((await faults(service, http))[0]["hits"])

        await wait_until_async(is_in_flight, "the request is in flight")
        exit_status = await asyncio.to_thread(service.stop)
        assert await pending == 200
    # after the last answer uvicorn raises the signal again; a crash has another exit status
    assert exit_status in (0, -signal.SIGTERM)
    with pytest.raises(KeyNotFoundError):
        await registry.get(key)
    await broker.close()


async def test_outside_a_lab_there_are_no_lab_routes(running: Running, name: str) -> None:
    service = await running(name, LAB_TOKEN="")
    async with aiohttp.ClientSession() as http:
        for authorization in ("", "Bearer ", "Bearer anything"):
            async with http.get(
                service.url + "/_lab/faults", headers={"Authorization": authorization}
            ) as answer:
                assert answer.status == 404


async def read(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        await answer.read()
        return answer.status
