"""Shows the log lines of a trace: as a page, as JSON, and to Grafana."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lab.recorder import loki, trace_logs
from lab.recorder.api.answers import json_answer
from lab.recorder.api.bodies import BodyReader
from lab.recorder.errors import RequestError
from lab.recorder.recorder import Recorder


class TracePages:
    """Searches the lab's log files, whether or not a run is recorded."""

    def __init__(self, recorder: Recorder, bodies: BodyReader) -> None:
        self._recorder = recorder
        self._bodies = bodies

    async def show(self, request: Request) -> Response:
        trace_id = request.query_params.get("trace_id", "").lower()
        if not trace_logs.TRACE_ID.fullmatch(trace_id):
            raise RequestError(400, f"trace_id {trace_id!r}: expected 32 hex digits")
        records = await self._records(trace_id)
        if request.query_params.get("format") == "json":
            return json_answer({"trace_id": trace_id, "lines": records})
        return HTMLResponse(trace_logs.page(trace_id, records, self._recorder.lab.jaeger_page))

    async def answer_loki(self, request: Request) -> Response:
        call = request.path_params["call"]
        if call == "labels":
            return json_answer({"status": "success", "data": list(loki.LABELS)})
        if call not in ("query", "query_range"):
            text = f"{call} is not supported: of Loki's API only query, query_range and labels are"
            raise RequestError(404, text)
        form = await self._bodies.read(request) if request.method == "POST" else b""
        parameters = parse_qs((request.scope["query_string"] + b"&" + form).decode("latin-1"))
        query = parameters.get("query", [""])[-1]
        if (other := loki.answer_other_query(query, time.time())) is not None:
            return json_answer(other)
        try:
            limit = max(int(parameters.get("limit", ["1000"])[-1]), 1)
            records = await self._records(loki.trace_id_of(query))
        except ValueError as error:
            raise RequestError(400, str(error)) from None
        return json_answer(loki.streams(records, limit))

    async def _records(self, trace_id: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(trace_logs.records_of, self._recorder.logs, trace_id)
