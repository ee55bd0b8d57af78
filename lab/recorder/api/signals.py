"""Takes spans and log records: OTLP, and a log forwarder's JSON."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from lab.otlp.logs import records_from_json, records_from_protobuf
from lab.otlp.spans import lines_from_json, lines_from_protobuf
from lab.recorder.api.access import authorize
from lab.recorder.api.bodies import BodyReader, unpack
from lab.recorder.errors import RequestError
from lab.recorder.intake.log_lines import read_records
from lab.recorder.recorder import PROTOBUF, Recorder
from lab.recorder.records.recording import Recording
from lab.recorder.span_forwarder import HEADERS

JSON = "application/json"


class Signals:
    """Answers 200 once a request's rows are queued or dropped, 503 if they are shed."""

    def __init__(self, recorder: Recorder, bodies: BodyReader) -> None:
        self._recorder = recorder
        self._bodies = bodies

    async def take_traces(self, request: Request) -> Response:
        body = await self._read(request)
        media_type = _otlp_type(request)
        headers = {name: request.headers[name] for name in HEADERS if request.headers.get(name)}
        self._recorder.jaeger.offer(body, headers)
        read = lines_from_protobuf if media_type == PROTOBUF else lines_from_json
        self._record(request, "traces", body, lambda to, content: to.add_spans(*read(content)))
        return _done(media_type)

    async def take_otlp_logs(self, request: Request) -> Response:
        body = await self._read(request)
        media_type = _otlp_type(request)
        read = records_from_protobuf if media_type == PROTOBUF else records_from_json
        self._record(request, "logs", body, lambda to, content: to.add_logs(read(content)))
        return _done(media_type)

    async def take_logs(self, request: Request) -> Response:
        body = await self._read(request)
        self._record(request, "logs", body, lambda to, content: to.add_logs(read_records(content)))
        return _done(_media_type(request))

    async def _read(self, request: Request) -> bytes:
        authorize(request, self._recorder.lab.signals_token, "signals_token")
        return await self._bodies.read(request)

    def _record(
        self, request: Request, signal: str, body: bytes, add: Callable[[Recording, bytes], bool]
    ) -> None:
        recording = self._recorder.recording
        if recording is None:
            return  # dropped unread
        try:
            added = add(recording, unpack(body, request.headers.get("content-encoding", "")))
        except RequestError:
            recording.refuse(signal)
            raise
        except ValueError as error:  # OtlpError is one
            recording.refuse(signal)
            raise RequestError(400, str(error)) from None
        if not added:
            # 503 makes an exporter send again; by then the disk may have caught up
            raise RequestError(503, f"shed {signal}: the disk does not keep up")


def _otlp_type(request: Request) -> str:
    media_type = _media_type(request)
    if media_type not in (PROTOBUF, JSON):
        raise RequestError(415, f"send OTLP as {PROTOBUF} or {JSON}")
    return media_type


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip()


def _done(media_type: str) -> Response:
    if media_type == PROTOBUF:
        return Response(b"", media_type=PROTOBUF)
    return Response(b"{}", media_type=JSON)
