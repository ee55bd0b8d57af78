"""Calls a running service over HTTP: as another service, as a user or as the lab."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from chassis.ids import new_id
from tests.fixtures.running import RunningService


@dataclass
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


async def call(
    service: RunningService,
    method: str,
    path: str,
    *,
    json: Any = None,
    key: str | None = None,
    token: str | None = None,
) -> Answer:
    """One request, by default from the service that calls it. A POST gets a new key; `key=""` sends none."""
    caller = "payments" if service.settings.service == "bank" else "orders"
    headers = {"authorization": f"Bearer {token or service.service_token(caller)}"}
    if method == "POST" and key != "":
        headers["idempotency-key"] = key or new_id()
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, service.url + path, json=json, headers=headers) as answer,
    ):
        return Answer(answer.status, await answer.json(content_type=None), answer.headers)


async def add_fault(service: RunningService, **fault: Any) -> None:
    """Add a fault to the service for the rest of the test."""
    answer = await call(
        service, "POST", "/_lab/faults", json={"ttl_s": 60, **fault},
        token=service.settings.lab_token,
    )  # fmt: skip
    assert answer.status == 201, answer.body
