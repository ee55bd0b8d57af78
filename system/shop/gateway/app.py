"""HTTP edge of the shop: authenticates, limits, admits and forwards requests. It does not parse bodies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer

from chassis.http.auth import CurrentUser, ForbiddenError, UnauthenticatedError
from chassis.http.client_limits import ClientLimits, TooManyRequestsError
from chassis.http.idempotency import IdempotencyKey
from chassis.http.problems import edge_problem
from chassis.service import Service, create_app
from contracts import asyncapi
from shop.gateway import described
from shop.gateway.admission import ACCOUNT, EDGE, AdmissionControl
from shop.gateway.docs_page import POLICY, docs_page
from shop.gateway.forward import (
    Endpoint,
    Forwarder,
    customer_address,
    endpoint,
    path_values,
    set_deadline,
)
from shop.gateway.order_details import OrderDetails
from shop.gateway.routes import ORDER_DETAILS, ROUTES, Route

# per client and gateway; behind one proxy, a whole classroom can be one client
RATE_LIMIT_PER_S = 2000.0
# Refused log-ins and tokens, per address and gateway: guessing costs an attacker time, and the shop little.
REFUSED_PER_S = 5.0
REFUSED_BURST = 100.0
DETAILS_DEADLINE_S = 2.0
DETAILS_PART_TIMEOUT_S = 1.0


@asynccontextmanager
async def start(service: Service) -> AsyncIterator[None]:
    number = service.settings.number
    rate = number("RATE_LIMIT_PER_S", RATE_LIMIT_PER_S)
    burst = number("RATE_LIMIT_BURST", max(1.0, 2 * rate))
    admission = service.state.admission = AdmissionControl(
        service.settings.resilience, service.clock
    )
    service.policy_switches.add(EDGE, admission)
    service.background("watch queue delay", admission.watch_queue_delay)
    service.state.limits = ClientLimits(rate, burst, service.clock)
    service.state.refused = ClientLimits(
        number("REFUSED_PER_S", REFUSED_PER_S),
        number("REFUSED_BURST", REFUSED_BURST),
        service.clock,
    )
    service.state.forwarder = Forwarder(service, ROUTES)
    service.state.details_deadline_s = number("DEADLINE_GET_ORDER_S", DETAILS_DEADLINE_S)
    service.state.order_details = OrderDetails(
        service.client("orders"),
        service.client("payments"),
        service.client("notifications"),
        part_timeout_s=number("DETAILS_PART_TIMEOUT_S", DETAILS_PART_TIMEOUT_S),
    )
    yield


app = create_app("gateway", start=start, responses={})  # each route lists its own (described.py)


async def limit_by_address(request: Request) -> None:
    limits: ClientLimits = request.app.state.limits
    limits.take(customer_address(request))


async def refuse_guessers(request: Request) -> None:
    """Refuse an address with too many refused secrets, before its token is checked."""
    refused: ClientLimits = request.app.state.refused
    refused.check(customer_address(request))


async def limit_by_user(request: Request, user: CurrentUser) -> None:
    limits: ClientLimits = request.app.state.limits
    limits.take(user.id)
    request.state.token = user.token


async def count_refused(request: Request, error: Exception) -> Response:
    """A token that is not valid counts for its address."""
    refused: ClientLimits = request.app.state.refused
    with suppress(TooManyRequestsError):
        refused.take(customer_address(request))
    return await edge_problem(request, error)


for _refusal in (UnauthenticatedError, ForbiddenError):
    app.add_exception_handler(_refusal, count_refused)


async def require_key(key: IdempotencyKey) -> None:
    """Checks and documents the header. The forwarder sends it on."""


USER = [Depends(HTTPBearer(auto_error=False)), Depends(refuse_guessers), Depends(limit_by_user)]


def _add(route: Route, answer: Endpoint) -> None:
    limits = USER if route.user else [Depends(limit_by_address)]
    app.router.add_api_route(
        route.path,
        answer,
        methods=[route.method],
        name=route.name,
        operation_id=route.name,
        summary=route.summary,
        status_code=route.status,
        dependencies=[*limits, *([Depends(require_key)] if route.key else [])],
        responses=described.answers(route),
        response_class=JSONResponse,
        response_model=None,
        openapi_extra=described.inputs(route),
    )


async def get_order(request: Request) -> Response:
    order_id = path_values(request)["order_id"]
    set_deadline(request.app.state.details_deadline_s)
    details: OrderDetails = request.app.state.order_details
    admission: AdmissionControl = request.app.state.admission
    return await admission.admit(ACCOUNT, lambda: details.read(order_id, request.state.token))


for _route in ROUTES:
    _add(_route, endpoint(_route))
_add(ORDER_DETAILS, get_order)
app.openapi = lambda: described.document(app)  # type: ignore[method-assign]


@app.get("/api/openapi.json", include_in_schema=False)
async def openapi_document() -> JSONResponse:
    return JSONResponse(app.openapi())


@app.get("/api/asyncapi.json", include_in_schema=False)
async def asyncapi_document() -> JSONResponse:
    """The AsyncAPI document of the shop's events."""
    return JSONResponse(asyncapi.document())


@app.get("/api/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": POLICY})
