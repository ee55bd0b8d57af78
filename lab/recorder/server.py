"""HTTP edge of the recorder: OTLP in, and the control that starts and stops a recording."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from lab import prometheus_text
from lab.otlp.logs import records_from_json, records_from_protobuf
from lab.otlp.spans import lines_from_json, lines_from_protobuf
from lab.prometheus_text import Exposition
from lab.recorder import loki, trace_logs
from lab.recorder.intake.log_lines import records_of
from lab.recorder.intake.nginx_spans import Ingress
from lab.recorder.lab_file import LabFile
from lab.recorder.records.recording import Recording
from lab.recorder.span_forwarder import HEADERS, Forwarder

BODY_BYTES_MAX = 8 * 1024 * 1024
UNPACKED_BYTES_MAX = 32 * 1024 * 1024
IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024
PROTOBUF, JSON = "application/x-protobuf", "application/json"
INGRESS_EACH_S = 0.25

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Answer = tuple[int, bytes, str]


class Refused(Exception):
    """The request cannot be served: an HTTP status and what the caller should do."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class RecorderApp:
    """The recorder as an ASGI application.

    POST /v1/traces      OTLP protobuf or JSON, gzip or plain; Jaeger, if the lab has one, gets a copy
    POST /v1/logs        the same for log records
    POST /logs           JSON lines or an array of objects, as Fluentd's http output sends them
    GET /logs            ?trace_id=<32 hex digits>: what the lab's log files say of a trace; &format=json
    GET /loki/api/v1/... the same for Grafana: query_range, query, labels (lab.recorder.loki)
    POST /recording      {"run_dir": absolute path}: start; 409 while another one runs
    GET /recording       {"recording": bool, counts...}
    DELETE /recording    stop, write the rest, the final counts; 404 when none runs
    GET /metrics         the run's phase, faults and load, and the recorder's own counts (docs/metrics.md)
    GET /health          200, and what went on to Jaeger
    While nothing records, signals are dropped unread; one with garbage is refused whole (400).
    The three of /recording want `Authorization: Bearer <token of lab.json>`.
    nginx's spans, made of its log, take the way of all spans: to `collector` (which hands them on to Jaeger and
    back), else into the recording and to Jaeger.
    """

    def __init__(self, lab_dir: Path, collector: str = "") -> None:
        self._lab_dir = lab_dir
        self._lab = LabFile(lab_dir / "lab.json")
        self._recording: Recording | None = None
        self._jaeger = Forwarder(lambda: self._lab.jaeger)
        self._collector = Forwarder(lambda: collector) if collector else None
        self._ingress = Ingress(lab_dir / "logs", self._take_ingress)
        self._changing = asyncio.Lock()
        self._in_flight_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                status, body, content_type = await self._answer(scope, receive)
            except Refused as refusal:
                status, body, content_type = _json(refusal.status, {"error": str(refusal)})
            await _send(send, status, body, content_type)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, path = scope["method"], scope["path"]
        if path == "/v1/traces":
            _only(method, "POST")
            return await self._take(scope, receive, "traces")
        if path == "/logs" and method == "GET":
            return await self._of_trace(parse_qs(scope["query_string"].decode("latin-1")))
        if path.startswith(loki.ROOT):
            _only(method, "GET", "POST")
            return await self._as_loki(scope, receive, path.removeprefix(loki.ROOT))
        if path in ("/v1/logs", "/logs"):
            _only(method, "POST")
            return await self._take(scope, receive, "logs")
        if path == "/health":
            return _json(200, {"status": "ok", "jaeger": self._jaeger.counts()})
        if path == "/metrics":
            _only(method, "GET")
            return 200, (await self._metrics()).encode(), prometheus_text.CONTENT_TYPE
        if path == "/recording":
            _only(method, "GET", "POST", "DELETE")
            self._authorize(scope)
            if method == "GET":
                return _json(200, self._status())
            async with self._changing:
                if method == "DELETE":
                    return _json(200, await self._stop())
                return _json(201, self._start(await self._body(scope, receive)))
        raise Refused(
            404, f"no {path} here: /v1/traces, /v1/logs and /logs take, /recording controls"
        )

    async def _of_trace(self, query: dict[str, list[str]]) -> Answer:
        trace_id = query.get("trace_id", [""])[-1].lower()
        if not trace_logs.TRACE_ID.fullmatch(trace_id):
            raise Refused(400, f"trace_id {trace_id!r}: expected 32 hex digits")
        records = await self._lines_of(trace_id)
        if query.get("format") == ["json"]:
            return _json(200, {"trace_id": trace_id, "lines": records})
        shown = trace_logs.page(trace_id, records, self._lab.jaeger_page)
        return 200, shown.encode(), "text/html; charset=utf-8"

    async def _lines_of(self, trace_id: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(trace_logs.lines_of, self._lab_dir / "logs", trace_id)

    async def _as_loki(self, scope: Scope, receive: Receive, what: str) -> Answer:
        if what == "labels":
            return _json(200, {"status": "success", "data": list(loki.LABELS)})
        if what not in ("query", "query_range"):
            raise Refused(404, f"no {what} here: query, query_range and labels are all of Loki")
        text = scope["query_string"]
        if scope["method"] == "POST":
            text += b"&" + await self._body(scope, receive)
        asked = parse_qs(text.decode("latin-1"))
        query, limit = asked.get("query", [""])[-1], asked.get("limit", ["1000"])[-1]
        if (other := loki.instead_of_logs(query, time.time())) is not None:
            return _json(200, other)
        try:
            records = await self._lines_of(loki.trace_id_of(query))
            return _json(200, loki.streams(records, max(int(limit), 1)))
        except ValueError as error:
            raise Refused(400, str(error)) from None

    async def _take(self, scope: Scope, receive: Receive, signal: str) -> Answer:
        body = await self._body(scope, receive)
        kind = _header(scope, b"content-type").split(";")[0].strip()
        plain = scope["path"] == "/logs"
        if not plain and kind not in (PROTOBUF, JSON):
            raise Refused(415, f"send OTLP as {PROTOBUF} or {JSON}")
        if signal == "traces":
            self._pass_on(scope, body)
        done = 200, b"" if kind == PROTOBUF else b"{}", kind if kind == PROTOBUF else JSON
        recording = self._recording
        if recording is None:
            return done  # dropped unread
        try:
            body = _unpacked(body, _header(scope, b"content-encoding"))
            if signal == "traces":
                lines, rows = (lines_from_protobuf if kind == PROTOBUF else lines_from_json)(body)
                taken = not rows or recording.add_spans(lines, rows)
            elif plain:
                taken = recording.add_logs(records_of(body))
            else:
                read = records_from_protobuf if kind == PROTOBUF else records_from_json
                taken = recording.add_logs(read(body))
        except Refused:
            recording.refuse(signal)
            raise
        except ValueError as error:  # OtlpError is one
            recording.refuse(signal)
            raise Refused(400, str(error)) from None
        if not taken:
            # 503 makes an exporter come back; by then the disk may have caught up.
            raise Refused(503, f"shed {signal}: the disk does not keep up")
        return done

    def _take_ingress(self, body: bytes) -> None:
        headers = {"content-type": PROTOBUF}
        if self._collector is not None:
            self._collector.offer(body, headers)
            return
        self._jaeger.offer(body, headers)
        if self._recording is not None:
            self._recording.add_spans(*lines_from_protobuf(body))

    async def _follow_ingress(self) -> None:
        while True:
            self._ingress.look()
            await asyncio.sleep(INGRESS_EACH_S)

    def _pass_on(self, scope: Scope, body: bytes) -> None:
        headers = {name: _header(scope, name.encode()) for name in HEADERS}
        self._jaeger.offer(body, {name: value for name, value in headers.items() if value})

    async def _metrics(self) -> str:
        recording, told = self._recording, Exposition()
        told.family("recorder_recording", "gauge", "1 while a run is recorded")
        told.sample(int(recording is not None))
        if recording is not None:
            await recording.tell(told)
        return told.text()

    def _start(self, body: bytes) -> dict[str, Any]:
        try:
            run_dir = Path(json.loads(body)["run_dir"])
        except (ValueError, KeyError, TypeError):
            raise Refused(400, 'send {"run_dir": "<absolute path of the run>"}') from None
        if not run_dir.is_absolute():
            raise Refused(400, f"run_dir {run_dir} is not absolute")
        if self._recording is not None and self._recording.run_dir != run_dir:
            raise Refused(409, f"{self._recording.run_dir} is being recorded: stop it first")
        if (run_dir / "spans.parquet").exists():
            raise Refused(409, f"{run_dir} is sealed already: record into a new directory")
        if self._recording is None:
            self._ingress.look()  # what came before is not of this run
            try:
                run_dir.mkdir(parents=True, exist_ok=True)
                self._recording = Recording(run_dir, self._lab_dir, self._lab)
            except OSError as error:
                raise Refused(400, f"cannot write to run_dir {run_dir}: {error}") from None
        return self._status()

    async def _stop(self) -> dict[str, Any]:
        if self._recording is None:
            raise Refused(404, "nothing is being recorded")
        self._ingress.look()
        recording, self._recording = self._recording, None
        return {"recording": False} | await recording.stop()

    def _status(self) -> dict[str, Any]:
        if self._recording is None:
            return {"recording": False}
        return {"recording": True} | self._recording.counts()

    def _authorize(self, scope: Scope) -> None:
        token = self._lab.token
        if not token:
            raise Refused(503, f"no token yet: {self._lab_dir / 'lab.json'} is not written")
        given = _header(scope, b"authorization").encode()
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise Refused(401, "send `Authorization: Bearer <token of lab.json>`")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The request's body; all bodies together stay within IN_FLIGHT_BYTES_MAX."""
        chunks, size = [], 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the body ended early")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                self._in_flight_bytes += len(chunks[-1])
                if size > BODY_BYTES_MAX:
                    raise Refused(
                        413, f"the body is larger than {BODY_BYTES_MAX} bytes: send less at once"
                    )
                if self._in_flight_bytes > IN_FLIGHT_BYTES_MAX:
                    raise Refused(503, "too much arrives at once: send it again later")
                if not message.get("more_body", False):
                    return b"".join(chunks)
        finally:
            self._in_flight_bytes -= size

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        following = asyncio.create_task(self._follow_ingress())
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        following.cancel()
        if self._recording is not None:
            await self._stop()
        await self._jaeger.close()
        if self._collector is not None:
            await self._collector.close()
        self._ingress.close()
        await send({"type": "lifespan.shutdown.complete"})


def serve(port: int, lab_dir: Path, host: str = "127.0.0.1", collector: str = "") -> None:
    """Serve until SIGTERM or SIGINT; a running recording is finished first.

    For `python -m lab.recorder` and for a forked child alike. Exits non-zero if the port is taken.
    """
    uvicorn.run(
        RecorderApp(lab_dir, collector),
        host=host,
        port=port,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Refused(415, f"content-encoding {encoding} is unknown: send gzip or none")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error as error:
        raise Refused(400, f"the body is no gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise Refused(413, f"the body unpacks to more than {UNPACKED_BYTES_MAX} bytes")
    if not unpacker.eof:
        raise Refused(400, "the gzip body ends early")
    return unpacked


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _only(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise Refused(405, f"{method} is not for this path: use {' or '.join(allowed)}")


def _json(status: int, content: dict[str, Any]) -> Answer:
    return status, json.dumps(content).encode(), JSON


async def _send(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
