"""What operators ask of every service: is it alive, is it ready, what are its numbers."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chassis.http.problems import problem_response
from chassis.telemetry.metrics import exposition

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health() -> JSONResponse:
    """The process is alive; says nothing of its stores."""
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """Every store answers, and the instance is not on its way out."""
    missing = await request.app.state.service.readiness_problems()
    if missing:
        detail = ", ".join(f"{name}: {why}" for name, why in missing.items())
        return problem_response(
            request, 503, "not-ready", "Not ready", detail, extra={"missing": missing}
        )
    return JSONResponse({"status": "ready"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text, or OpenMetrics with exemplars if that is what is asked for."""
    text, content_type = exposition(request.headers.get("accept", ""))
    return Response(text, headers={"content-type": content_type})
