"""The lab's routes inside a service. They answer 404 outside a lab, 401 without the lab's token."""

import hmac
import os
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from chassis.faults import FaultError, Injector
from chassis.faults.catalogue import entries
from chassis.faults.residue import residue
from chassis.http.auth import UnauthenticatedError
from chassis.http.problems import ProblemError
from chassis.resilience.profile import ProfileError


class BadFaultError(ProblemError):
    """The requested fault is invalid."""


class BadResilienceError(ProblemError):
    """The requested change of a policy is invalid."""


class UnknownFaultError(ProblemError):
    """No active fault has this id."""

    status = 404


async def _lab_only(request: Request) -> None:
    settings = request.app.state.service.settings
    if not settings.lab:
        raise HTTPException(404)
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), settings.lab_token.encode()):
        raise UnauthenticatedError("the lab's routes require the lab's token")


async def _injector(request: Request) -> Injector:
    injector: Injector = request.app.state.service.injector
    return injector


router = APIRouter(prefix="/_lab", dependencies=[Depends(_lab_only)], include_in_schema=False)
Faults = Annotated[Injector, Depends(_injector)]


@router.get("/faults")
async def list_faults(injector: Faults) -> dict[str, Any]:
    """The active faults."""
    return {"items": [active.record.to_row() for active in injector.armed]}


@router.get("/faults/history")
async def fault_history(injector: Faults) -> dict[str, Any]:
    """All faults of this process, including removed ones."""
    return {"items": [active.record.to_row() for active in injector.history], "pid": os.getpid()}


@router.get("/faults/catalogue")
async def catalogue() -> dict[str, Any]:
    """The kinds of faults that can be added, with their settings."""
    return {"items": list(entries())}


@router.get("/residue")
async def fault_residue(request: Request) -> dict[str, Any]:
    """What faults have left in this process; `left` is empty if there is nothing."""
    service = request.app.state.service
    return residue(service.injector, service.baseline)


@router.get("/time")
async def service_time(request: Request) -> dict[str, float]:
    """The service's clock in seconds since the epoch, to be compared with the host's."""
    return {"now_s": request.app.state.service.clock.now().timestamp()}


@router.post("/faults")
async def add_fault(injector: Faults, spec: Annotated[dict[str, Any], Body()]) -> JSONResponse:
    """Add one fault; 201 with its state."""
    try:
        active = await injector.add(spec)
    except FaultError as error:
        raise BadFaultError(str(error)) from None
    return JSONResponse(active.record.to_row(), 201)


@router.delete("/faults/{fault_id}")
async def remove_fault(injector: Faults, fault_id: str) -> Response:
    """Remove one fault."""
    if not await injector.remove(fault_id):
        raise UnknownFaultError(f"no active fault {fault_id}")
    return Response(status_code=204)


@router.delete("/faults")
async def clear_faults(injector: Faults) -> dict[str, Any]:
    """Remove all faults."""
    return {"removed": await injector.clear()}


@router.get("/resilience")
async def resilience(request: Request) -> dict[str, Any]:
    """The live state of every policy, by edge."""
    return {"edges": request.app.state.service.policy_switches.view()}


@router.put("/resilience")
async def change_resilience(
    request: Request, wanted: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """Set the profile of edges, or switch single policies."""
    try:
        request.app.state.service.policy_switches.change(wanted)
    except ProfileError as error:
        raise BadResilienceError(str(error)) from None
    return await resilience(request)
