"""The routes for operators: liveness, readiness and metrics."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chassis.http.problems import problem_response
from chassis.telemetry.metrics import exposition

router = APIRouter(include_in_schema=False)


@router.get("/health")
async def health() -> JSONResponse:
    """The process is alive. The stores are not checked."""
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """200 if every store answers and the instance is not shutting down, else 503."""
    problems = await request.app.state.service.readiness_problems()
    if problems:
        detail = ", ".join(f"{name}: {reason}" for name, reason in problems.items())
        return problem_response(
            request, 503, "not-ready", "Not ready", detail, extra={"missing": problems}
        )
    return JSONResponse({"status": "ready"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text, or OpenMetrics with exemplars if the Accept header requests it."""
    text, content_type = exposition(request.headers.get("accept", ""))
    return Response(text, headers={"content-type": content_type})
