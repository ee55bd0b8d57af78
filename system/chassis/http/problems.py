"""Errors as RFC 9457 problem details. A domain error is named after its class. No stack traces."""

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from chassis.resilience.errors import CallError, DeadlineExceededError, TimedOutError
from chassis.unavailable import STORE_UNAVAILABLE, VALUE_REFUSED

log = logging.getLogger("chassis.http.problems")
MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An error that carries its own HTTP status."""

    status = 400
    extra: Mapping[str, Any] = MappingProxyType({})
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})


class ProblemDetails(BaseModel):
    """The body of every error answer (RFC 9457). Some kinds add fields."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    trace_id: str = ""


# for the OpenAPI document: every route can answer with a problem
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {
        "description": "Problem",
        "content": {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}},
    }
    for code in (422, "default")
}


def problem_response(
    request: Request,
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    retry_after_s: float | None = None,
) -> JSONResponse:
    """An error answer with the trace id of the current span."""
    body: dict[str, Any] = {
        "type": f"urn:breakwater:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        body["trace_id"] = f"{span.trace_id:032x}"
    all_headers = dict(headers or {})
    if retry_after_s is not None:
        all_headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return JSONResponse({**body, **(extra or {})}, status, all_headers, MEDIA_TYPE)


def words(error: type[BaseException]) -> list[str]:
    """`OutOfStockError` -> ['Out', 'of', 'stock']: the class name gives the problem's type and title."""
    name = error.__name__.removesuffix("Error") or "Error"
    parts: list[str] = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+", name)
    return [parts[0], *(part.lower() for part in parts[1:])]


def _error_response(request: Request, error: Exception, status: int, **extra: Any) -> JSONResponse:
    name = words(type(error))
    return problem_response(
        request,
        status,
        "-".join(name).lower(),
        " ".join(name),
        str(error) or " ".join(name),
        extra={**getattr(error, "extra", {}), **extra},
        headers=getattr(error, "headers", None),
        retry_after_s=getattr(error, "retry_after_s", None),
    )


async def edge_problem(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error that carries its own status."""
    assert isinstance(error, ProblemError)
    return _error_response(request, error, error.status)


def internal_error(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error that no handler expects. It reveals no details; the log has them."""
    log.error("unhandled exception %s", type(error).__name__, exc_info=error)
    return problem_response(
        request,
        500,
        "internal-error",
        "Internal error",
        "a bug in the service; search the logs for the trace id",
    )


def _methods(request: Request) -> list[str]:
    """The methods of the request's path."""
    matching = (each for each in request.app.routes if each.matches(request.scope)[0] != Match.NONE)
    return sorted({method for each in matching for method in getattr(each, "methods", None) or ()})


def install(  # noqa: C901 - six small handlers
    app: FastAPI, problems: Mapping[type[Exception], int]
) -> None:
    """Register the handlers: `problems` maps a service's domain errors to statuses."""

    def domain_handler(status: int) -> Any:
        async def handle(request: Request, error: Exception) -> JSONResponse:
            return _error_response(request, error, status)

        return handle

    for error_class, status in problems.items():
        app.add_exception_handler(error_class, domain_handler(status))

    async def call_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CallError)
        status = 504 if isinstance(error, TimedOutError | DeadlineExceededError) else 503
        if error.retry_after_s is None:
            error.retry_after_s = 1.0
        return _error_response(request, error, status, definite=error.definite)

    async def store_down(request: Request, error: Exception) -> JSONResponse:
        log.warning("store unavailable: %s: %s", type(error).__name__, error)
        # indefinite: a commit may have succeeded before the connection broke
        return problem_response(
            request,
            503,
            "store-unavailable",
            "Store unavailable",
            "the service's store cannot be reached; try again",
            extra={"definite": False},
            retry_after_s=1,
        )

    async def value_refused(request: Request, error: Exception) -> JSONResponse:
        log.warning("the store refused a value: %s", error)
        return problem_response(
            request,
            422,
            "invalid-value",
            "Invalid value",
            "a value of the request cannot be stored: a character that no text may have, or a"
            " number out of range",
            extra={"definite": True},
        )

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        if any(item["type"] == "json_invalid" for item in found):
            return problem_response(
                request, 400, "malformed-json", "Malformed JSON", "the body is not valid JSON"
            )
        headers = [item for item in found if item["loc"][0] == "header"]
        errors = [
            {
                "field": ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]),
                "message": item["msg"],
            }
            for item in headers or found
        ]
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:3])
        status, part = (400, "header") if headers else (422, "request")
        return problem_response(
            request, status, f"invalid-{part}", f"Invalid {part}", detail, extra={"errors": errors}
        )

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        title, headers = str(error.detail), error.headers
        if error.status_code == 405:  # the framework names the methods of one route of the path
            headers = {"Allow": ", ".join(_methods(request))}
        kind = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        return problem_response(
            request,
            error.status_code,
            kind,
            title,
            f"{request.method} {request.url.path}: {title}",
            headers=headers,
        )

    app.add_exception_handler(ProblemError, edge_problem)
    app.add_exception_handler(CallError, call_error)
    for unavailable in STORE_UNAVAILABLE:
        app.add_exception_handler(unavailable, store_down)
    for refused in VALUE_REFUSED:
        app.add_exception_handler(refused, value_refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http_error)
