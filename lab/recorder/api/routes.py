"""The routes of the API, and the calls that control a recording."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lab import prometheus_text
from lab.recorder import loki
from lab.recorder.api.access import OwnHostOnly, authorize
from lab.recorder.api.answers import json_answer
from lab.recorder.api.bodies import BodyReader
from lab.recorder.api.signals import Signals
from lab.recorder.api.trace_pages import TracePages
from lab.recorder.errors import RequestError
from lab.recorder.recorder import Recorder

SIGNALS = "/v1/traces, /v1/logs or /logs"


def create_app(recorder: Recorder) -> Starlette:
    """The recorder as an ASGI application.

    POST /v1/traces      OTLP protobuf or JSON, gzip or plain; Jaeger gets a copy if the lab has one
    POST /v1/logs        the same for log records
    POST /logs           JSON lines or an array of objects, as Fluentd's http output sends them
    GET /logs            ?trace_id=<32 hex digits>: the lab's log lines of a trace as a page; &format=json
    GET /loki/api/v1/... the same for Grafana: query_range, query, labels (lab.recorder.loki)
    POST /recording      {"run_dir": absolute path}: starts; 409 while another run is recorded
    GET /recording       {"recording": bool, counts...}
    DELETE /recording    stops, writes the rest and returns the final counts; 404 if no run is recorded
    GET /metrics         the run's phase, faults and load, and the recorder's own counts (docs/metrics.md)
    GET /health          200, and the counts of what was forwarded to Jaeger

    Signals require `Authorization: Bearer <signals_token of lab.json>`, /recording its `token`. While no run
    is recorded, signals are dropped unread. A request with invalid content is refused as a whole (400).
    """
    bodies = BodyReader()
    control = Control(recorder, bodies)
    signals = Signals(recorder, bodies)
    pages = TracePages(recorder, bodies)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with recorder.running():
            yield

    return Starlette(
        routes=[
            Route("/v1/traces", signals.take_traces, methods=["POST"]),
            Route("/v1/logs", signals.take_otlp_logs, methods=["POST"]),
            Route("/logs", signals.take_logs, methods=["POST"]),
            Route("/logs", pages.show, methods=["GET"]),
            Route(f"{loki.ROOT}{{call}}", pages.answer_loki, methods=["GET", "POST"]),
            Route("/recording", control.start, methods=["POST"]),
            Route("/recording", control.show, methods=["GET"]),
            Route("/recording", control.stop, methods=["DELETE"]),
            Route("/metrics", control.metrics),
            Route("/health", control.health),
        ],
        middleware=[Middleware(OwnHostOnly)],
        exception_handlers={RequestError: _refuse, HTTPException: _refuse},
        lifespan=lifespan,
    )


class Control:
    """Starts, stops and shows the recording, and shows the recorder's own state."""

    def __init__(self, recorder: Recorder, bodies: BodyReader) -> None:
        self._recorder = recorder
        self._bodies = bodies

    async def start(self, request: Request) -> Response:
        self._authorize(request)
        try:
            run_dir = Path(json.loads(await self._bodies.read(request))["run_dir"])
        except (ValueError, KeyError, TypeError):
            raise RequestError(400, 'send {"run_dir": "<absolute path of the run>"}') from None
        return json_answer(await self._recorder.start(run_dir), 201)

    async def show(self, request: Request) -> Response:
        self._authorize(request)
        return json_answer(self._recorder.status())

    async def stop(self, request: Request) -> Response:
        self._authorize(request)
        return json_answer(await self._recorder.stop())

    async def metrics(self, request: Request) -> Response:
        page = await self._recorder.metrics()
        return Response(page, media_type=prometheus_text.CONTENT_TYPE)

    async def health(self, request: Request) -> Response:
        return json_answer({"status": "ok", "jaeger": self._recorder.jaeger.counts()})

    def _authorize(self, request: Request) -> None:
        authorize(request, self._recorder.lab.token, "token")


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):  # no route has this path or this method
        text = f"{request.method} {request.url.path}: {error.detail}; send signals to {SIGNALS}"
        return json_answer({"error": text}, error.status_code)
    assert isinstance(error, RequestError)
    return json_answer({"error": str(error)}, error.status)
