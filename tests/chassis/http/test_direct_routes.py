"""A planned route answers as FastAPI does. Each request is sent both ways, and the answers are compared."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Cookie, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.types import Message

from chassis.http.direct_routes import DirectRoutes
from lab import topology

SERVICES = list(topology.load().services)
ID = "0198a3f0-0000-7000-8000-000000000001"


class RefusedError(Exception):
    pass


class Line(BaseModel):
    sku: str = Field(min_length=1)
    quantity: int = Field(ge=1, strict=True)


class View(BaseModel):
    number: int


calls: list[str] = []
app = FastAPI()


async def caller(request: Request, _: Annotated[Any, Depends(HTTPBearer(auto_error=False))]) -> str:
    calls.append("caller")
    name = request.headers.get("authorization", "").removeprefix("Bearer ")
    if name == "thief":
        raise HTTPException(401, "no")
    return name


async def friend(name: Annotated[str, Depends(caller)]) -> str:
    calls.append("friend")
    if name == "foe":
        raise RefusedError("go away")
    return name


async def limit(request: Request) -> None:
    calls.append(f"limit {request.url.path}")


Caller = Annotated[str, Depends(caller)]
Friend = Annotated[str, Depends(friend)]
Key = Annotated[str, Header(alias="Idempotency-Key", pattern="^[!-~]{1,10}$")]


@app.exception_handler(RefusedError)
async def refused(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"refused": str(error), "path": request.url.path}, 403)


@app.post("/orders/{order_id}/lines", status_code=201, dependencies=[Depends(limit)])
async def add(
    order_id: UUID, body: Line, key: Key, friend: Friend, caller: Caller, request: Request
) -> JSONResponse:
    calls.append("add")
    found = {"order": str(order_id), "key": key, "friend": friend, "caller": caller}
    return JSONResponse({**found, **body.model_dump(), "method": request.method}, 202)


@app.get("/orders/{order_id}")
async def read(order_id: str, limit: Annotated[int, Query(ge=1, le=9)] = 5) -> dict[str, Any]:
    return {"order": order_id, "limit": limit}


@app.get("/orders")
async def search(
    sku: Annotated[list[str] | None, Query()] = None,
    text: Annotated[str, Query(max_length=3, pattern="^[a-z]*$")] = "",
    cursor: str | None = None,
) -> dict[str, Any]:
    return {"sku": sku, "text": text, "cursor": cursor}


@app.get("/numbers/{number}", response_model=View)
async def number(number: str) -> dict[str, Any]:
    if number == "none":
        raise RefusedError("no number")
    return {"number": number, "hidden": True}


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body())


async def opened() -> AsyncIterator[str]:
    calls.append("open")
    yield "it"
    calls.append("close")


@app.get("/opened")
async def read_opened(what: Annotated[str, Depends(opened)]) -> str:
    return what


@app.get("/seats")
async def seats(row: Annotated[str, Cookie()] = "") -> str:
    return row


@app.get("/files/{name:path}")
async def file(name: str) -> str:
    return name


Headers = Sequence[tuple[str, str]]
Answer = tuple[int, dict[str, str], bytes]


async def ask(
    method: str, path: str, headers: Headers = (), body: bytes = b"", *, direct: bool
) -> Answer:
    """One request, with its body in two pieces."""
    target, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": target, "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "app": app, "root_path": "", "scheme": "http", "server": ("shop", 80), "http_version": "1.1",
    }  # fmt: skip
    pieces = [body[:7], body[7:]]
    sent: list[Message] = []

    async def receive() -> Message:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    if direct:
        given = {name: value for name, value in headers}
        await DirectRoutes(app, app)(scope, receive, send, given)
    else:
        await app(scope, receive, send)
    start, *bodies = sent
    answer_headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], answer_headers, b"".join(each["body"] for each in bodies)


def both(method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
    """The answer, after a check that FastAPI gives the same one, with the same calls of dependencies."""
    answers, called = [], []
    for direct in (False, True):
        calls.clear()
        answers.append(asyncio.run(ask(method, path, headers, body, direct=direct)))
        called.append(calls.copy())
    assert answers[0] == answers[1]
    assert called[0] == called[1]
    return answers[1]


JSON, KEY, FRIEND = (
    ("content-type", "application/json"),
    ("idempotency-key", "k1"),
    ("authorization", "Bearer ann"),
)
LINE = b'{"sku": "SKU-1", "quantity": 2}'
ADD = f"/orders/{ID}/lines"


def test_every_route_of_the_shop_has_a_plan() -> None:
    for name in SERVICES:
        service = importlib.import_module(f"shop.{name}.app").app
        routes = [each for each in service.routes if isinstance(each, APIRoute)]
        planned = DirectRoutes(service, service).planned()
        assert [each.path for each in routes if each not in planned] == [], name
        assert routes


def test_a_planned_route_gets_its_parameters_and_dependencies() -> None:
    status, _, body = both("POST", ADD, [JSON, KEY, FRIEND], LINE)
    assert status == 202
    assert json.loads(body)["friend"] == json.loads(body)["caller"] == "ann"
    assert calls == [f"limit {ADD}", "caller", "friend", "add"]  # each dependency once


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([JSON, FRIEND], LINE, 422),
        ([JSON, FRIEND, ("idempotency-key", "")], LINE, 422),
        ([JSON, FRIEND, KEY, ("idempotency-key", "second value")], LINE, 202),
        ([JSON, KEY, FRIEND], b"", 422),
        ([JSON, KEY, FRIEND], b"{", 422),
        ([JSON, KEY, FRIEND], b"null", 422),
        ([JSON, KEY, FRIEND], b'{"sku": "", "quantity": "2"}', 422),
        ([KEY, FRIEND], LINE, 422),
        ([("content-type", "text/plain"), KEY, FRIEND], LINE, 422),
        ([("content-type", "application/json; charset=utf-8"), KEY, FRIEND], LINE, 202),
        ([JSON, KEY, ("authorization", "Bearer foe")], LINE, 403),
        ([JSON, KEY, ("authorization", "Bearer thief")], LINE, 401),
        ([JSON, KEY, ("authorization", "Bearer thief")], b"{}", 401),  # before the invalid body
    ],
)
def test_a_request_is_refused_as_fastapi_refuses_it(
    headers: Headers, body: bytes, status: int
) -> None:
    assert both("POST", ADD, headers, body)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/orders/no-id/lines", 422),
        ("GET", "/orders/17", 200),
        ("GET", "/orders/17?limit=7&limit=8", 200),
        ("GET", "/orders/17?limit=", 422),
        ("GET", "/orders/17?limit=10", 422),
        ("GET", "/orders/17/", 307),
        ("GET", "/orders", 200),
        ("GET", "/orders?sku=a&sku=b%20c&text=x&cursor=", 200),
        ("GET", "/orders?sku=&text=%C3%A4", 422),
        ("GET", "/orders?text=long", 422),
        ("DELETE", "/orders", 405),
        ("GET", "/nothing", 404),
        ("GET", "/numbers/7", 200),
        ("GET", "/numbers/none", 403),
        ("GET", "/files/a/b", 200),
        ("POST", "/echo", 200),
        ("GET", "/opened", 200),
        ("GET", "/seats", 200),
    ],
)
def test_a_path_is_answered_as_fastapi_answers_it(method: str, path: str, status: int) -> None:
    assert both(method, path, [JSON, KEY, FRIEND])[0] == status


def test_an_endpoint_can_read_the_body_itself() -> None:
    assert both("POST", "/echo", [JSON], LINE)[2] == LINE


def test_an_answer_that_is_not_of_its_model_raises() -> None:
    for direct in (False, True):
        with pytest.raises(ResponseValidationError):
            asyncio.run(ask("GET", "/numbers/wrong", direct=direct))


def test_routes_with_parts_that_no_plan_has_are_left_to_fastapi() -> None:
    planned = {route.path for route in DirectRoutes(app, app).planned()}
    left = {route.path for route in app.routes if isinstance(route, APIRoute)} - planned
    assert left == {"/opened", "/seats", "/files/{name:path}"}
