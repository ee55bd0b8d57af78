"""What the OpenAPI document says about a route: its parameters, its body and its answers."""

import re
from typing import Any

from fastapi import FastAPI

from chassis.http.problems import MEDIA_TYPE, ProblemDetails
from shop.gateway.forward import PATH_VALUE
from shop.gateway.public import inline_schema
from shop.gateway.routes import Route

PATH_NAME = re.compile(r"{(\w+)}")
PROBLEM = f"#/components/schemas/{ProblemDetails.__name__}"
ALWAYS = {
    400: "The request is malformed.",
    429: "The client sends too many requests; wait as long as Retry-After says.",
    502: "The gateway cannot be reached; try again.",
    503: "A service is not available; try again.",
    504: "The request took too long.",
}
WITH_USER = {401: "The token is missing or not valid.", 403: "The token is not a user's."}
WITH_BODY = {413: "The body has more than 64 KiB."}
WITH_INPUT = {422: "A value is missing, unknown or refused."}
WITH_PATH = {404: "There is no such resource."}
ID = {"type": "string", "pattern": f"^{PATH_VALUE.pattern}$"}
EXAMPLES = {"product_id": {"examples": ["SKU-0001"]}}


def answers(route: Route) -> dict[int | str, Any]:
    """Every status of a route, by FastAPI's `responses`."""
    refusals = {
        **ALWAYS,
        **(WITH_USER if route.user else {}),
        **(WITH_BODY if route.body else {}),
        **(WITH_INPUT if route.body or route.query or route.key else {}),
        **(WITH_PATH if PATH_NAME.search(route.path) else {}),
        **route.other_answers,
    }
    found: dict[int | str, Any] = {route.status: {"model": route.answer}}
    for status, description in sorted(refusals.items()):
        problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}}}}
        content = {"model": route.answer} if status < 300 else problem
        found[status] = {"description": description, **content}
    return found


def inputs(route: Route) -> dict[str, Any]:
    """The parameters and the body, which the gateway does not parse, by FastAPI's `openapi_extra`."""
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": ID | EXAMPLES.get(name, {})}
        for name in PATH_NAME.findall(route.path)
    ]
    if route.query is not None:
        for name, schema in inline_schema(route.query)["properties"].items():
            parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    extra: dict[str, Any] = {"parameters": parameters}
    if route.body is not None:
        content = {"application/json": {"schema": inline_schema(route.body)}}
        extra["requestBody"] = {"required": True, "content": content}
    return extra


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the public API."""
    made = FastAPI.openapi(app)
    schemas = made["components"]["schemas"]
    schemas.setdefault(ProblemDetails.__name__, ProblemDetails.model_json_schema())
    return made
