"""Runs a route without FastAPI's work per request: a plan, made once, reads its parameters and calls its endpoint.

FastAPI declares and documents the routes. For each request it walks through the route's dependencies inside seven
nested ASGI apps, which was half of the CPU time of a call between services. A plan has the same result for usual
requests. FastAPI runs all others: routes with parts that no plan has, and requests with an invalid parameter.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import ResponseValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.convertors import StringConvertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PLAIN_DEFAULTS = (type(None), str, int, float, bool)
UNPLANNED_OPTIONS = (
    *("response_model_include", "response_model_exclude", "response_model_exclude_unset"),
    *("response_model_exclude_defaults", "response_model_exclude_none"),
)
UNPLANNED_PARTS = (
    *("cookie_params", "websocket_param_name", "response_param_name"),
    *(
        "background_tasks_param_name",
        "security_scopes_param_name",
        "own_oauth_scopes",
        "concurrency",
    ),
)
MISSING: Any = object()


class UnplannedError(Exception):
    """FastAPI must run this route, or this request."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value of the request. `field` is FastAPI's model of it, `slot` its place among the plan's values."""

    slot: int
    where: str  # "path", "query", "header" or "body"
    name: str
    many: bool
    field: Any
    default: Any

    def read(self, source: Any) -> Any:
        """The checked value. Raises UnplannedError if it is missing or invalid."""
        found = source if self.where == "body" else source.get(self.name, MISSING)
        if found is MISSING:
            if self.default is MISSING:
                raise UnplannedError
            return self.default
        if self.where == "query" and not self.many:
            found = found[-1]
        value, errors = self.field.validate(found)
        if errors:
            raise UnplannedError
        return value


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a dependency or of the endpoint, with its arguments from these slots."""

    slot: int
    call: Callable[..., Awaitable[Any]]
    arguments: tuple[tuple[str, int], ...]

    def run(self, values: list[Any]) -> Awaitable[Any]:
        return self.call(**{name: values[slot] for name, slot in self.arguments})


class Plan:
    """How to run one route. Raises UnplannedError for a route with a part that a plan cannot have."""

    def __init__(self, route: Route) -> None:
        self._route = _checked(route)
        self._size = 1  # slot 0 has the request
        self._parameters: list[Parameter] = []
        self._steps: list[Step] = []
        self._results: dict[Any, int] = {}
        self._endpoint = self._step(self._route.dependant)
        self._has_query = any(each.where == "query" for each in self._parameters)

    async def read(self, request: Request, headers: Mapping[str, str]) -> list[Any]:
        """The checked parameters by slot. Calls nothing. Raises UnplannedError."""
        sources: dict[str, Any] = {"header": headers, "path": request.scope["path_params"]}
        if self._has_query:
            sources["query"] = _query(request.scope["query_string"])
        if self._route.body_field is not None:
            sources["body"] = await _json_body(request, headers)
        values: list[Any] = [request] + [None] * (self._size - 1)
        for each in self._parameters:
            values[each.slot] = each.read(sources[each.where])
        return values

    async def run(self, values: list[Any]) -> Response:
        """Call the dependencies in FastAPI's order, then the endpoint."""
        for step in self._steps:
            values[step.slot] = await step.run(values)
        answer = await self._endpoint.run(values)
        return answer if isinstance(answer, Response) else self._response(answer)

    def _response(self, answer: Any) -> Response:
        status, field = self._route.status_code or 200, self._route.response_field
        if field is None:
            return JSONResponse(jsonable_encoder(answer), status)
        value, errors = field.validate(answer, loc=("response",))
        if errors:
            raise ResponseValidationError(errors, body=answer)
        return Response(field.serialize_json(value), status, media_type="application/json")

    def _step(self, dependant: Dependant) -> Step:
        call = dependant.call
        if call is None or not _is_coroutine(call) or _has_unplanned_part(dependant):
            raise UnplannedError
        arguments: dict[str, int] = {}
        for each in dependant.dependencies:
            slot = self._results.get(each.call) if each.use_cache else None
            if slot is None:
                self._steps.append(self._step(each))
                slot = self._results[each.call] = self._steps[-1].slot
            if each.name is not None:
                arguments[each.name] = slot
        for where in ("path", "query", "header", "body"):
            for field in getattr(dependant, f"{where}_params"):
                self._parameters.append(_parameter(self._new_slot(), where, field))
                arguments[field.name] = self._parameters[-1].slot
        for name in (dependant.request_param_name, dependant.http_connection_param_name):
            if name is not None:
                arguments[name] = 0
        return Step(self._new_slot(), call, tuple(arguments.items()))

    def _new_slot(self) -> int:
        self._size += 1
        return self._size - 1


class DirectRoutes:
    """An ASGI app that runs planned routes itself, and passes all other requests on to `ordinary`.

    Create it when `app` has all its routes.
    """

    def __init__(self, app: FastAPI, ordinary: ASGIApp) -> None:
        self._app = app
        self._ordinary = ordinary
        self._static: dict[tuple[str, str], tuple[Route, Plan | None]] = {}
        self._patterns: dict[str, list[tuple[Any, Route, Plan | None]]] = {}
        for route in app.routes:
            if not isinstance(route, Route):
                break  # it may match the paths of later routes
            self._add(route)

    def planned(self) -> list[Route]:
        """The routes with a plan."""
        found = [*self._static.values(), *(each[1:] for e in self._patterns.values() for each in e)]
        return [route for route, plan in found if plan is not None]

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]
    ) -> None:
        """Answer one HTTP request. `headers` are those of the scope, with names in lower case."""
        plan = self._find(scope)
        if plan is None or self._app.dependency_overrides or len(headers) != len(scope["headers"]):
            await self._ordinary(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            values = await plan.read(request, headers)
            response = await plan.run(values)
        except UnplannedError:
            await self._ordinary(scope, _replay(request, receive), send)
        except Exception as error:
            response = await self._error_response(request, error)
            await response(scope, receive, send)
        else:
            await response(scope, receive, send)

    def _add(self, route: Route) -> None:
        plan = None
        with suppress(UnplannedError):
            plan = Plan(route)
        for method in route.methods or ():
            patterns = self._patterns.setdefault(method, [])
            if route.param_convertors:
                patterns.append((route.path_regex.match, route, plan))
            elif not any(match(route.path) for match, *_ in patterns):
                self._static.setdefault((method, route.path), (route, plan))

    def _find(self, scope: Scope) -> Plan | None:
        """The plan of the first route that matches, set in the scope as Starlette's router does."""
        method, path = scope["method"], scope["path"]
        found = self._static.get((method, path))
        if found is not None:
            scope["route"], scope["path_params"] = found[0], {}
            return found[1]
        for match, route, plan in self._patterns.get(method, ()):
            if matched := match(path):
                scope["route"], scope["path_params"] = route, matched.groupdict()
                return plan
        return None

    async def _error_response(self, request: Request, error: Exception) -> Response:
        """The answer of the app's handler. Raises the error if it has none."""
        handlers: dict[Any, Any] = self._app.exception_handlers
        classes = [error.status_code] if isinstance(error, HTTPException) else []
        for each in (*classes, *type(error).__mro__):
            if each in handlers:
                response: Response = await handlers[each](request, error)
                return response
        raise error


def _checked(route: Route) -> APIRoute:
    """The route. Raises UnplannedError if it has an option that a plan does not implement."""
    if not isinstance(route, APIRoute):
        raise UnplannedError
    if type(route).get_route_handler is not APIRoute.get_route_handler:
        raise UnplannedError
    if route.response_field and not isinstance(route.response_class, DefaultPlaceholder):
        raise UnplannedError
    if any(getattr(route, option) for option in UNPLANNED_OPTIONS):
        raise UnplannedError
    if not route.response_model_by_alias or route.status_code not in (None, 200, 201, 202):
        raise UnplannedError
    if any(type(each) is not StringConvertor for each in route.param_convertors.values()):
        raise UnplannedError
    body = route.body_field
    if body is not None and (isinstance(body.field_info, Form) or route._embed_body_fields):
        raise UnplannedError
    return route


def _has_unplanned_part(dependant: Dependant) -> bool:
    return any(getattr(dependant, part) for part in UNPLANNED_PARTS)


def _is_coroutine(call: Any) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _parameter(slot: int, where: str, field: Any) -> Parameter:
    info = field.field_info
    annotations = (info.annotation, *get_args(info.annotation))
    if where != "body" and any(_is_model(each) for each in annotations):
        raise UnplannedError  # a model of several parameters
    name, many = field.alias, any(get_origin(each) is list for each in annotations)
    if info.validation_alias not in (None, name) or (many and where != "query"):
        raise UnplannedError
    if where == "header":
        if info.alias is None:  # FastAPI would derive the header's name from the parameter's
            raise UnplannedError
        name = name.lower()
    default = MISSING if info.is_required() else info.get_default(call_default_factory=True)
    if default is not MISSING and (
        not isinstance(default, PLAIN_DEFAULTS) or info.validate_default
    ):
        raise UnplannedError
    return Parameter(slot, where, name, many, field, default)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _query(query_string: bytes) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    if query_string:
        for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
            values.setdefault(name, []).append(value)
    return values


async def _json_body(request: Request, headers: Mapping[str, str]) -> Any:
    """The parsed body. Raises UnplannedError, with the body kept in `request` for `_replay`."""
    try:
        content = await request.body()
    except ClientDisconnect:
        raise HTTPException(400, "There was an error parsing the body") from None
    if not content or headers.get("content-type") != "application/json":
        raise UnplannedError
    try:
        return json.loads(content)
    except ValueError:
        raise UnplannedError from None


def _replay(request: Request, receive: Receive) -> Receive:
    """`receive`, or the body again if it was read."""
    content: bytes | None = getattr(request, "_body", None)
    if content is None:
        return receive
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": content, "more_body": False}]
    )

    async def replayed() -> Message:
        return next(messages, None) or await receive()

    return replayed
