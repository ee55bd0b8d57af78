"""The service under test: its routes, the tokens that they require, and a plain HTTP client."""

import importlib
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from chassis.http import auth
from tests.fixtures.running import RunningService

SOME_ID = "019b76da-a800-7000-8000-000000000001"
PARAMETER = re.compile(r"{\w+}")
SEEDED_USER = {"email": "user001@example.com", "password": "correct-horse-breakwater"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Operation:
    """One route of the service. `token_kind` is user, service, either, or empty for no token."""

    method: str
    path: str
    token_kind: str
    callers: frozenset[str]
    key: bool
    body: bool

    @property
    def some_path(self) -> str:
        return PARAMETER.sub(SOME_ID, self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(name: str) -> list[Operation]:
    """The routes of shop.<name>.app. Its OpenAPI document states which require an Idempotency-Key."""
    app = importlib.import_module(f"shop.{name}.app").app
    paths = app.openapi()["paths"]
    found = []
    for route in app.routes:
        if not (isinstance(route, APIRoute) and route.include_in_schema):
            continue
        dependencies = set(_dependencies(route.dependant))
        guard = next((each for each in dependencies if isinstance(each, auth.CalledBy)), None)
        token_kind = (
            "user" if auth._user in dependencies
            else "" if guard is None
            else "either" if guard.users
            else "service"
        )  # fmt: skip
        for method in route.methods or ():
            parameters = paths[route.path][method.lower()].get("parameters", [])
            key = any(
                parameter["in"] == "header" and parameter["name"].lower() == "idempotency-key"
                for parameter in parameters
            )
            found.append(
                Operation(
                    method,
                    route.path,
                    token_kind,
                    guard.services if guard else frozenset(),
                    key,
                    route.body_field is not None,
                )
            )
    return found


def _dependencies(dependant: Dependant) -> list[Any]:
    nested = (each for child in dependant.dependencies for each in _dependencies(child))
    return [dependant.call, *nested]


class Subject:
    def __init__(self, service: RunningService, http: aiohttp.ClientSession) -> None:
        self.service = service
        self.name = service.settings.service
        self.operations = operations(self.name)
        self._http = http
        self._login = ""

    async def call(
        self, method: str, path: str, *, json: Any = None, content: Any = None, **headers: Any
    ) -> Answer:
        """`content`: bytes or an async iterator of them. `Idempotency_Key="k"` is sent as `Idempotency-Key: k`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self._http.request(
            method, self.service.url + path, json=json, data=content, headers=sent
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def token(self, operation: Operation) -> dict[str, str]:
        """The Authorization header that the operation requires, if it requires one."""
        if not operation.token_kind:
            return {}
        if operation.token_kind == "user":
            return {"Authorization": f"Bearer {await self.user_token()}"}
        (caller, *_) = operation.callers
        return {"Authorization": f"Bearer {self.service.service_token(caller)}"}

    async def user_token(self) -> str:
        if self.name != "users":
            return self.service.user_token(SOME_ID)
        if not self._login:  # users issues the tokens itself
            answer = await self.call("POST", "/login", json=SEEDED_USER)
            self._login = answer.body["access_token"]
        return self._login


def assert_problem(answer: Answer, status: int, about: object = "") -> dict[str, Any]:
    """Assert that the answer is problem details (RFC 9457) with this status, and return them."""
    assert answer.status == status, (about, answer.status, answer.content[:500])
    assert answer.headers["Content-Type"] == "application/problem+json", about
    problem: dict[str, Any] = answer.body
    assert {"type", "title", "status", "detail", "instance", "trace_id"} <= problem.keys(), about
    assert problem["status"] == status, about
    assert re.fullmatch(r"urn:breakwater:problem:[a-z0-9-]+", problem["type"]), problem["type"]
    assert problem["title"], about
    assert problem["detail"], about
    assert re.fullmatch(r"[0-9a-f]{32}", problem["trace_id"]), about
    assert "Traceback" not in answer.content.decode(), about
    return problem


Check = Callable[[Subject], Coroutine[Any, Any, None]]
Conforms = Callable[..., Awaitable[None]]
